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

/** Among the wires of a step: an operand, or an operation, that is not there. */
const NONE = -1;

/**
 * The gates as steps on wires, one for each gate: an AND takes along XORs that feed it alone, or the one that it alone
 * goes into; the step of an XOR that was taken along is {@link NONE}.
 */
function mergeXors(wires: number, gates: Uint32Array, outputs: Uint32Array): Int32Array {
  const count = gates.length / GATE;
  const maker = new Int32Array(wires).fill(NONE);
  const reader = new Int32Array(wires).fill(NONE);
  const uses = new Uint32Array(wires);
  for (let g = 0; g < count; g++) {
    maker[gates[GATE * g + 3]!] = g;
    for (let i = 1; i <= 2; i++) {
      reader[gates[GATE * g + i]!] = g;
      uses[gates[GATE * g + i]!]!++;
    }
  }
  // An output has readers outside, never just one.
  for (const wire of outputs) uses[wire]! += 2;

  const steps = new Int32Array(STEP * count).fill(NONE);
  const merged = new Uint8Array(count);
  const mergeable = (g: number) => g !== NONE && gates[GATE * g] === Op.xor && merged[g] === 0;
  /** Writes the sum that `wire` stands for, when the XOR that makes it has no other reader. */
  const putSummands = (at: number, wire: number): void => {
    const g = maker[wire]!;
    if (uses[wire] === 1 && mergeable(g)) {
      merged[g] = 1;
      steps[STEP * g] = NONE;
      steps[at] = gates[GATE * g + 1]!;
      steps[at + 1] = gates[GATE * g + 2]!;
    } else {
      steps[at] = wire;
    }
  };
  for (let g = 0; g < count; g++) {
    if (merged[g] === 1) continue;
    const gate = GATE * g;
    const step = STEP * g;
    const out = gates[gate + 3]!;
    steps[step] = gates[gate]!;
    steps[step + 6] = out;
    if (gates[gate] !== Op.and) {
      steps[step + 1] = gates[gate + 1]!;
      steps[step + 2] = gates[gate + 2]!;
      continue;
    }
    putSummands(step + 1, gates[gate + 1]!);
    putSummands(step + 3, gates[gate + 2]!);
    const next = reader[out]!;
    if (uses[out] !== 1 || !mergeable(next)) continue;
    const summand = gates[GATE * next + 1]!;
    const other = summand === out ? gates[GATE * next + 2]! : summand;
    // The other summand must exist by now.
    if (maker[other]! < g) {
      merged[next] = 1;
      steps[step + 5] = other;
      steps[step + 6] = gates[GATE * next + 3]!;
    }
  }
  return steps;
}

/** Register allocation from first to last use: a step may write where an operand of it just died. */
function assignSlots(
  wires: number,
  merged: Int32Array,
  outputs: Uint32Array,
): Pick<Circuit, 'steps' | 'outputSlots' | 'slotCount'> {
  // Last step that reads each wire; a wire that nothing reads dies where it is set, an output never dies.
  const lastUse = new Float64Array(wires);
  for (let s = 0; s < merged.length; s += STEP) {
    for (let i = 1; merged[s] !== NONE && i < STEP; i++) {
      if (merged[s + i] !== NONE) lastUse[merged[s + i]!] = s;
    }
  }
  for (const wire of outputs) lastUse[wire] = Number.POSITIVE_INFINITY;

  const slotOf = new Uint32Array(wires);
  const free: number[] = [];
  let slotCount = ZERO_SLOT + 1;
  const place = (wire: number): number => {
    const slot = free.pop() ?? slotCount++;
    slotOf[wire] = slot;
    return slot;
  };
  const releaseAfter = (s: number, wire: number): void => {
    if (wire === NONE || lastUse[wire] !== s) return;
    free.push(slotOf[wire]!);
    lastUse[wire] = NONE;
  };
  // Each wire at most: a step that sets it, or its load.
  const steps = new Uint32Array(STEP * wires);
  let end = 0;
  const slotHolding = (wire: number): number => {
    // Only inputs are used before they have a slot: gates come in topological order.
    if (slotOf[wire] === ZERO_SLOT) {
      steps[end] = LOAD;
      steps[end + 1] = wire;
      steps[end + STEP - 1] = place(wire);
      end += STEP;
    }
    return slotOf[wire]!;
  };
  const operands = new Uint32Array(STEP);
  for (let s = 0; s < merged.length; s += STEP) {
    if (merged[s] === NONE) continue;
    for (let i = 1; i < STEP - 1; i++) {
      operands[i] = merged[s + i] === NONE ? ZERO_SLOT : slotHolding(merged[s + i]!);
    }
    for (let i = 1; i < STEP - 1; i++) releaseAfter(s, merged[s + i]!);
    const out = merged[s + STEP - 1]!;
    operands[0] = merged[s]!;
    operands[STEP - 1] = place(out);
    steps.set(operands, end);
    end += STEP;
    releaseAfter(s, out);
  }
  const outputSlots = outputs.map(slotHolding);
  return { steps: steps.slice(0, end), outputSlots, slotCount };
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
