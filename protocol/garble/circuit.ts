/**
 * Boolean circuits as flat data: what both parties agree on before anything is garbled.
 *
 * Bits: wires are numbered, the garbler's inputs first, then the evaluator's, then gate outputs. A circuit holds no
 * secret and no object graph, so it can be cloned to a worker. Circuits have no constant wires: the builder folds
 * constants away. XOR and NOT are free to garble; AND costs 32 bytes an instance.
 */

/** What a gate computes. NOT has one input, stored twice. */
export const Op = { xor: 0, and: 1, not: 2 } as const;

/** Beside {@link Op} in {@link Circuit.slotGates}: brings an input wire, given in place of both inputs, into a slot. */
export const LOAD = 3;

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
   * The same gates with each wire replaced by the slot it occupies, from its first use to its last: `slotCount` buffers
   * are enough. A {@link LOAD} comes before the first use of an input wire; one that nothing uses has none.
   */
  readonly slotGates: Uint32Array;
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
  return { ...circuit, ...assignSlots(wires, gates, outputs) };
}

/** Register allocation from first to last use: a gate may write where an input of it just died. */
function assignSlots(
  wires: number,
  gates: Uint32Array,
  outputs: Uint32Array,
): Pick<Circuit, 'slotGates' | 'outputSlots' | 'slotCount'> {
  // Last gate that reads each wire; a wire that nothing reads dies where it is set, an output never dies.
  const lastUse = new Float64Array(wires);
  for (let g = 0; g < gates.length; g += GATE) {
    for (let i = 1; i < GATE; i++) lastUse[gates[g + i]!] = g;
  }
  for (const wire of outputs) lastUse[wire] = Number.POSITIVE_INFINITY;

  const slotOf = new Int32Array(wires).fill(-1);
  const free: number[] = [];
  let slotCount = 0;
  const slotGates: number[] = [];
  const place = (wire: number): number => {
    slotOf[wire] = free.pop() ?? slotCount++;
    return slotOf[wire]!;
  };
  const slotHolding = (wire: number): number => {
    // Only inputs are used before they have a slot: gates come in topological order.
    if (slotOf[wire] === -1) slotGates.push(LOAD, wire, wire, place(wire));
    return slotOf[wire]!;
  };
  for (let g = 0; g < gates.length; g += GATE) {
    const [op, a, b, out] = gates.subarray(g, g + GATE) as unknown as [
      number,
      number,
      number,
      number,
    ];
    const left = slotHolding(a);
    const right = slotHolding(b);
    if (lastUse[a] === g) free.push(left);
    if (lastUse[b] === g && b !== a) free.push(right);
    const slot = place(out);
    if (lastUse[out] === g) free.push(slot);
    slotGates.push(op, left, right, slot);
  }
  const outputSlots = outputs.map(slotHolding);
  return { slotGates: Uint32Array.from(slotGates), outputSlots, slotCount };
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
