/**
 * Boolean circuits as flat data: what both parties agree on before anything is garbled.
 *
 * Bits: wires are numbered, the garbler's inputs first, then the evaluator's, then gate outputs. A circuit holds no
 * secret and no object graph, so it can be cloned to a worker. Circuits have no constant wires: the builder folds
 * constants away. XOR and NOT are free to garble; AND costs 32 bytes an instance.
 */

/** What a gate computes. NOT has one input, stored twice. */
export const Op = { xor: 0, and: 1, not: 2 } as const;

/** Beside {@link Op} in {@link Circuit.steps}: brings an input wire into a slot. */
export const LOAD = 3;

/** Numbers a step takes in {@link Circuit.steps}: operation, five operands, result. */
export const STEP = 7;

/** The slot of an operand that is not there. It holds zero labels and nothing is ever written to it. */
export const ZERO_SLOT = 0;

/** Numbers a gate takes in {@link Circuit.gates}: operation, two inputs, output. */
export const GATE = 4;

/** A boolean circuit, made by {@link makeCircuit}. */
export interface Circuit {
  /** Input wires of the garbler: wires 0 .. garblerInputs - 1. */
  readonly garblerInputs: number;
  /** Input wires of the evaluator, after the garbler's. */
  readonly evaluatorInputs: number;
  /** Gates in topological order, {@link GATE} numbers each: {@link Op}, input wire, input wire, output wire. */
  readonly gates: Uint32Array;
  /** Output wires, in order; the same wire may appear twice. */
  readonly outputs: Uint32Array;
  /** AND gates, the cost of the circuit. */
  readonly andCount: number;
  /**
   * The same function as the garbling engine runs it, {@link STEP} numbers a step: what it does, five slots that it reads
   * ({@link ZERO_SLOT} where it has fewer operands; an input wire for {@link LOAD}), the slot that it writes. An AND step
   * takes the XOR gates around it along: (r0 ^ r1) & (r2 ^ r3) ^ r4, so that a carry is one step. A slot holds a wire
   * from its first use to its last, so that `slotCount` buffers are enough; an input that nothing uses is never loaded.
   */
  readonly steps: Uint32Array;
  /** The slots of the outputs. */
  readonly outputSlots: Uint32Array;
  readonly slotCount: number;
}

/**
 * Checks a circuit and computes what garbling needs to know about it.
 * @param gates - as {@link Circuit.gates}; gate outputs number the wires after the inputs, in any order
 * @throws RangeError naming the gate that is malformed: unknown operation, wire used before it is set, set twice
 */
export function makeCircuit(
  garblerInputs: number,
  evaluatorInputs: number,
  gates: Uint32Array,
  outputs: Uint32Array,
): Circuit {
  const inputs = garblerInputs + evaluatorInputs;
  const wires = inputs + gates.length / GATE;
  if (!Number.isSafeInteger(wires) || garblerInputs < 0 || evaluatorInputs < 0) {
    throw new RangeError('circuit: expected non-negative input counts and four numbers a gate');
  }
  const set = new Uint8Array(wires).fill(1, 0, inputs);
  let andCount = 0;
  for (let g = 0; g < gates.length; g += GATE) {
    const op = gates[g]!;
    const a = gates[g + 1]!;
    const b = gates[g + 2]!;
    const out = gates[g + 3]!;
    if (op > Op.not || (op === Op.not && a !== b)) {
      throw new RangeError(`circuit: gate ${g / GATE} has an unknown operation or shape`);
    }
    if (set[a] !== 1 || set[b] !== 1) {
      throw new RangeError(`circuit: gate ${g / GATE} reads a wire that is not set before it`);
    }
    if (set[out] !== 0) {
      throw new RangeError(`circuit: gate ${g / GATE} sets a wire that exists already or cannot`);
    }
    set[out] = 1;
    if (op === Op.and) andCount++;
  }
  for (const wire of outputs) {
    if (set[wire] !== 1) throw new RangeError(`circuit: output wire ${wire} is never set`);
  }
  const circuit = { garblerInputs, evaluatorInputs, gates, outputs, andCount };
  return { ...circuit, ...assignSlots(wires, mergeXors(wires, gates, outputs), outputs) };
}

/** A step before its wires have slots: operands that are not there are undefined. */
interface Step {
  readonly op: number;
  readonly reads: readonly (number | undefined)[];
  readonly out: number;
}

/** The gates as steps: an AND takes along XORs that feed it alone, or the one that it alone goes into. */
function mergeXors(wires: number, gates: Uint32Array, outputs: Uint32Array): Step[] {
  const maker = new Float64Array(wires).fill(-1);
  const reader = new Float64Array(wires);
  const uses = new Float64Array(wires);
  for (let g = 0; g < gates.length; g += GATE) {
    maker[gates[g + 3]!] = g;
    for (const wire of gates.subarray(g + 1, g + 3)) {
      reader[wire] = g;
      uses[wire]!++;
    }
  }
  // An output has readers outside.
  for (const wire of outputs) uses[wire] = Number.POSITIVE_INFINITY;

  const merged = new Set<number>();
  const isFreeXor = (g: number) => g >= 0 && gates[g] === Op.xor && !merged.has(g);
  /** The sum that `wire` stands for, when the XOR that makes it has no other reader. */
  const summands = (wire: number): [number, number | undefined] => {
    const g = maker[wire]!;
    if (uses[wire] !== 1 || !isFreeXor(g)) return [wire, undefined];
    merged.add(g);
    return [gates[g + 1]!, gates[g + 2]!];
  };
  const steps = new Map<number, Step>();
  for (let g = 0; g < gates.length; g += GATE) {
    const [op, a, b, out] = gates.subarray(g, g + GATE) as unknown as [
      number,
      number,
      number,
      number,
    ];
    if (op !== Op.and) {
      steps.set(g, { op, reads: op === Op.not ? [a] : [a, b], out });
      continue;
    }
    const reads = [...summands(a), ...summands(b)];
    const next = reader[out]!;
    const other = gates[next + 1] === out ? gates[next + 2]! : gates[next + 1]!;
    // The other summand must exist by now.
    if (uses[out] === 1 && isFreeXor(next) && maker[other]! < g) {
      merged.add(next);
      steps.set(g, { op, reads: [...reads, other], out: gates[next + 3]! });
    } else {
      steps.set(g, { op, reads, out });
    }
  }
  return [...steps].filter(([g]) => !merged.has(g)).map(([, step]) => step);
}

/** Register allocation from first to last use: a step may write where an operand of it just died. */
function assignSlots(
  wires: number,
  steps: readonly Step[],
  outputs: Uint32Array,
): Pick<Circuit, 'steps' | 'outputSlots' | 'slotCount'> {
  // Last step that reads each wire; a wire that nothing reads dies where it is set, an output never dies.
  const lastUse = new Float64Array(wires);
  steps.forEach(({ reads, out }, s) => {
    for (const wire of [...reads, out]) if (wire !== undefined) lastUse[wire] = s;
  });
  for (const wire of outputs) lastUse[wire] = Number.POSITIVE_INFINITY;

  const slotOf = new Uint32Array(wires);
  const free: number[] = [];
  let slotCount = ZERO_SLOT + 1;
  const flat: number[] = [];
  const emit = (op: number, reads: readonly number[], wire: number): void => {
    const slot = free.pop() ?? slotCount++;
    slotOf[wire] = slot;
    const operands = Array.from({ length: STEP - 2 }, (_, i) => reads[i] ?? ZERO_SLOT);
    flat.push(op, ...operands, slot);
  };
  const slotHolding = (wire: number | undefined): number => {
    if (wire === undefined) return ZERO_SLOT;
    // Only inputs are used before they have a slot: gates come in topological order.
    if (slotOf[wire] === ZERO_SLOT) emit(LOAD, [wire], wire);
    return slotOf[wire]!;
  };
  steps.forEach(({ op, reads, out }, s) => {
    const slots = reads.map(slotHolding);
    for (const wire of new Set(reads)) {
      if (wire !== undefined && lastUse[wire] === s) free.push(slotOf[wire]!);
    }
    emit(op, slots, out);
    if (lastUse[out] === s) free.push(slotOf[out]!);
  });
  const outputSlots = outputs.map(slotHolding);
  return { steps: Uint32Array.from(flat), outputSlots, slotCount };
}

/**
 * The circuit in the clear: the meaning that garbling must preserve.
 * @param inputs - one byte 0 or 1 per input wire, the garbler's first
 * @returns one byte 0 or 1 per output
 * @throws RangeError when the number of inputs is wrong
 */
export function evaluateClear(circuit: Circuit, inputs: ArrayLike<number>): Uint8Array {
  const expected = circuit.garblerInputs + circuit.evaluatorInputs;
  if (inputs.length !== expected) {
    throw new RangeError(`circuit inputs: expected ${expected} bits, got ${inputs.length}`);
  }
  const { gates } = circuit;
  const value = new Uint8Array(expected + gates.length / GATE);
  value.set(inputs);
  for (let g = 0; g < gates.length; g += GATE) {
    const a = value[gates[g + 1]!]!;
    const b = value[gates[g + 2]!]!;
    const op = gates[g];
    value[gates[g + 3]!] = op === Op.xor ? a ^ b : op === Op.and ? a & b : a ^ 1;
  }
  return Uint8Array.from(circuit.outputs, (wire) => value[wire]!);
}
