import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../protocol/errors.ts';
import { type Circuit, evaluateClear, Op } from '../../../protocol/garble/circuit.ts';
import {
  evaluateGarbled,
  garble,
  maxInstances,
  tableBytes,
  tweaksOf,
} from '../../../protocol/garble/halfgates.ts';
import { activeLabels, colours, decodeBits } from '../../../protocol/garble/labels.ts';
import { kernels } from '../../../protocol/kernels/index.ts';
import { type AesEngine, opensslAes, wasmAes } from '../../../protocol/random/aes.ts';
import { INSTANCES_PER_KEY } from '../../../protocol/random/hash.ts';
import { deriveSeed, Prg, randomBytes } from '../../../protocol/random/index.ts';
import { hex } from '../../support/bytes.ts';
import { allAlive, anyCircuit, comparison, oneGate } from './circuits.ts';
import { referenceEvaluate, referenceGarble, toInteger, toIntegers } from './reference.ts';

/** Everything random that garbling n instances needs, from a seed, and random inputs. */
function material(circuit: Circuit, n: number, seed: number) {
  const prg = new Prg(deriveSeed(new Uint8Array(16), 'half gates test', seed));
  const inputs = circuit.garblerInputs + circuit.evaluatorInputs;
  const delta = randomBytes(prg, 16);
  delta[0]! |= 1;
  return {
    delta,
    zero: randomBytes(prg, inputs * n * 16),
    tweaks: { start: randomBytes(prg, 16), first: 1000 + seed },
    bits: randomBytes(prg, inputs * n).map((byte) => byte & 1),
  };
}

/** Garbles, evaluates and decodes. */
function run(circuit: Circuit, n: number, seed: number, engine?: AesEngine) {
  const { delta, zero, tweaks, bits } = material(circuit, n, seed);
  const { tables, outputZeroLabels } = garble(
    circuit,
    n,
    { delta, zeroLabels: zero, tweaks },
    { engine },
  );
  const active = activeLabels(zero, delta, bits);
  const labels = evaluateGarbled(circuit, n, { labels: active, tables, tweaks }, engine);
  return { tables, outputZeroLabels, labels, bits, delta };
}

/** The outputs that `bits` should give, wire after wire. */
function expectedOutputs(circuit: Circuit, n: number, bits: Uint8Array): Uint8Array {
  const out = new Uint8Array(circuit.outputs.length * n);
  for (let i = 0; i < n; i++) {
    const inputs = Array.from({ length: bits.length / n }, (_, wire) => bits[wire * n + i]!);
    evaluateClear(circuit, inputs).forEach((bit, wire) => {
      out[wire * n + i] = bit;
    });
  }
  return out;
}

/** Instance i of a buffer of n instances, one block per wire. */
function instance(blocks: Uint8Array, n: number, i: number): Uint8Array {
  const out = new Uint8Array(blocks.length / n);
  for (let w = 0; w < out.length; w += 16) {
    out.set(blocks.subarray(w * n + 16 * i, w * n + 16 * i + 16), w);
  }
  return out;
}

const engines = [opensslAes!, wasmAes];

describe.each(engines)('half gates, $name', (engine) => {
  it.each(Object.entries(Op))('%s: truth table for every colour of the labels', (_, op) => {
    const circuit = oneGate(op);
    const { delta, tweaks } = material(circuit, 1, op);
    for (let i = 0; i < 16; i++) {
      const zero = randomBytes(new Prg(deriveSeed(delta, 'labels', i)), 32);
      zero[0] = (zero[0]! & 0xfe) | (i & 1);
      zero[16] = (zero[16]! & 0xfe) | ((i >> 1) & 1);
      const bits = Uint8Array.of((i >> 2) & 1, i >> 3);
      const { tables, outputZeroLabels } = garble(
        circuit,
        1,
        { delta, zeroLabels: zero, tweaks },
        { engine },
      );
      const active = activeLabels(zero, delta, bits);
      const label = evaluateGarbled(circuit, 1, { labels: active, tables, tweaks }, engine);
      const expected = evaluateClear(circuit, bits);
      expect(decodeBits(label, colours(outputZeroLabels))).toEqual(expected);
      expect(hex(label)).toBe(hex(activeLabels(outputZeroLabels, delta, expected)));
    }
  });

  it('garbles any circuit exactly, whatever the number of instances', () => {
    fc.assert(
      fc.property(anyCircuit, fc.constantFrom(1, 2, 3, 5, 31, 32, 65), fc.nat(1000), (c, n, s) => {
        const { tables, labels, outputZeroLabels, bits, delta } = run(c, n, s, engine);
        const expected = expectedOutputs(c, n, bits);
        // Whole labels, not only colours: an output label is the zero label or it xor delta, nothing else.
        expect(hex(labels)).toBe(hex(activeLabels(outputZeroLabels, delta, expected)));
        expect(tables.length).toBe(tableBytes(c, n));
      }),
      { seed: 2, numRuns: 60 },
    );
  });

  it('agrees with the paper written out, instance by instance', () => {
    fc.assert(
      fc.property(anyCircuit, fc.constantFrom(1, 3, 4), fc.nat(1000), (circuit, n, seed) => {
        const { delta, zero, tweaks, bits } = material(circuit, n, seed);
        const { tables, outputZeroLabels } = garble(
          circuit,
          n,
          { delta, zeroLabels: zero, tweaks },
          { engine },
        );
        const active = activeLabels(zero, delta, bits);
        const labels = evaluateGarbled(circuit, n, { labels: active, tables, tweaks }, engine);
        for (let i = 0; i < n; i++) {
          const { start, first } = tweaks;
          const inputs = toIntegers(instance(zero, n, i));
          const slow = referenceGarble(circuit, toInteger(delta), inputs, start, first);
          expect(toIntegers(instance(tables, n, i))).toEqual(slow.tables);
          expect(toIntegers(instance(outputZeroLabels, n, i))).toEqual(slow.outputs);
          const held = toIntegers(instance(active, n, i));
          expect(toIntegers(instance(labels, n, i))).toEqual(
            referenceEvaluate(circuit, held, slow.tables, start, first),
          );
        }
      }),
      { seed: 3, numRuns: 30 },
    );
  });

  it('compares for the full batch of 1,024 instances', () => {
    const circuit = comparison(13);
    const { labels, outputZeroLabels, bits } = run(circuit, INSTANCES_PER_KEY, 4, engine);
    expect(decodeBits(labels, colours(outputZeroLabels))).toEqual(
      expectedOutputs(circuit, INSTANCES_PER_KEY, bits),
    );
  });
});

describe('half gates', () => {
  it('keep their wire format: SHA-256 of tables and output labels from a fixed seed', () => {
    const digest = (n: number, engine: AesEngine) => {
      const { tables, outputZeroLabels, labels } = run(comparison(13), n, 5, engine);
      const hash = createHash('sha256').update(tables).update(outputZeroLabels).update(labels);
      return hash.digest('hex');
    };
    for (const engine of engines) {
      expect(digest(1, engine)).toBe(
        '463578e3bf8973726e1a263135af8d3b6e534835238150dc8317a7048cccb43c',
      );
      expect(digest(100, engine)).toBe(
        'c21c119eb7984ed1ce506f09579a63493e8ecea72eab92bc9dc498c500e7d5ee',
      );
    }
  });

  it('spend one key on each half of each AND gate, all keys distinct', () => {
    const keys: string[] = [];
    const spy: AesEngine = {
      ...wasmAes,
      encryptAt(key, target, source, blocks) {
        keys.push(`${hex(key)} ${blocks}`);
        wasmAes.encryptAt(key, target, source, blocks);
      },
    };
    const circuit = comparison(9);
    const { delta, zero, tweaks } = material(circuit, 7, 6);
    const { tables } = garble(circuit, 7, { delta, zeroLabels: zero, tweaks }, { engine: spy });
    expect(keys).toHaveLength(tweaksOf(circuit));
    expect(new Set(keys).size).toBe(tweaksOf(circuit));
    expect(keys.every((key) => key.endsWith(' 14'))).toBe(true);
    // The next circuit, with the next tweaks, repeats none of them.
    const next = { ...tweaks, first: tweaks.first + tweaksOf(circuit) };
    const second = garble(circuit, 7, { delta, zeroLabels: zero, tweaks: next }, { engine: spy });
    expect(new Set(keys).size).toBe(2 * tweaksOf(circuit));
    // Same labels under other tweaks: no row of the tables comes again.
    const rows = [tables, second.tables].flatMap((bytes) => toIntegers(bytes));
    expect(new Set(rows).size).toBe(rows.length);
    // The check sees what it looks for: tweaks used again bring the rows again, and no key is new.
    const again = garble(circuit, 7, { delta, zeroLabels: zero, tweaks }, { engine: spy });
    expect(hex(again.tables)).toBe(hex(tables));
    expect(new Set(keys).size).toBe(2 * tweaksOf(circuit));
  });

  it('depend on every tweak, table byte and label: planted faults change the outcome', () => {
    const circuit = comparison(5);
    const { delta, zero, tweaks, bits } = material(circuit, 3, 7);
    const { tables } = garble(circuit, 3, { delta, zeroLabels: zero, tweaks });
    const active = activeLabels(zero, delta, bits);
    const good = hex(evaluateGarbled(circuit, 3, { labels: active, tables, tweaks }));
    const shifted = { ...tweaks, first: tweaks.first + 1 };
    expect(hex(evaluateGarbled(circuit, 3, { labels: active, tables, tweaks: shifted }))).not.toBe(
      good,
    );
    const start = tweaks.start.slice();
    start[15]! ^= 0x80;
    expect(
      hex(evaluateGarbled(circuit, 3, { labels: active, tables, tweaks: { ...tweaks, start } })),
    ).not.toBe(good);
    const wrong = active.slice();
    wrong[17]! ^= 4;
    expect(hex(evaluateGarbled(circuit, 3, { labels: wrong, tables, tweaks }))).not.toBe(good);
    // A row counts when the colour that selects it is 1: about half the flipped bytes must show.
    let seen = 0;
    for (let i = 0; i < tables.length; i += 16) {
      const broken = tables.slice();
      broken[i]! ^= 2;
      if (hex(evaluateGarbled(circuit, 3, { labels: active, tables: broken, tweaks })) !== good)
        seen++;
    }
    expect(seen).toBeGreaterThan(tables.length / 16 / 5);
    expect(seen).toBeLessThan(tables.length / 16);
  });

  it('let neither labels nor colours show the bits', () => {
    // Over random labels the colour the evaluator sees is a fair coin whatever the bit: 4,096 tosses, 6 sigma.
    for (const bit of [0, 1]) {
      const { delta, zero } = material(comparison(2), 1024, 8);
      const active = activeLabels(zero, delta, new Uint8Array(4096).fill(bit));
      const ones = colours(active).reduce((sum, colour) => sum + colour, 0);
      expect(Math.abs(ones - 2048)).toBeLessThan(6 * 32);
    }
  });

  it('take the input labels in one buffer or in two, and write tables where they are told', () => {
    const circuit = comparison(9);
    const n = 33;
    const { delta, zero, tweaks, bits } = material(circuit, n, 11);
    const cut = 9 * n * 16;
    const halves = (all: Uint8Array) => [all.subarray(0, cut), all.slice(cut)] as const;
    const { tables, outputZeroLabels } = garble(circuit, n, { delta, zeroLabels: zero, tweaks });
    const room = new Uint8Array(tables.length + 32).fill(7);
    const place = room.subarray(16, -16);
    const same = garble(
      circuit,
      n,
      { delta, zeroLabels: halves(zero), tweaks },
      { engine: wasmAes, room: place },
    );
    expect(hex(same.outputZeroLabels)).toBe(hex(outputZeroLabels));
    expect(hex(place)).toBe(hex(tables));
    expect([...room.subarray(0, 16), ...room.subarray(-16)].every((byte) => byte === 7)).toBe(true);
    const active = activeLabels(zero, delta, bits);
    const labels = evaluateGarbled(circuit, n, { labels: active, tables, tweaks });
    expect(hex(evaluateGarbled(circuit, n, { labels: halves(active), tables, tweaks }))).toBe(
      hex(labels),
    );
    const [own, others] = halves(zero);
    const short = [own, others.subarray(16)] as const;
    const swapped = [own.subarray(16), new Uint8Array(others.length + 16)] as const;
    for (const bad of [short, swapped]) {
      expect(() => garble(circuit, n, { delta, zeroLabels: bad, tweaks })).toThrow(RangeError);
      expect(() => evaluateGarbled(circuit, n, { labels: bad, tables, tweaks })).toThrow(
        RangeError,
      );
    }
    const small = room.subarray(0, 16);
    expect(() =>
      garble(circuit, n, { delta, zeroLabels: zero, tweaks }, { engine: wasmAes, room: small }),
    ).toThrow(/expected room/);
  });

  it('refuse an offset whose lowest bit is 0 and wrong lengths', () => {
    const circuit = comparison(4);
    const { delta, zero, tweaks } = material(circuit, 2, 9);
    const even = delta.slice();
    even[0]! &= 0xfe;
    expect(() => garble(circuit, 2, { delta: even, zeroLabels: zero, tweaks })).toThrow(
      /lowest bit is 1/,
    );
    expect(() =>
      garble(circuit, 2, { delta: delta.subarray(1), zeroLabels: zero, tweaks }),
    ).toThrow(RangeError);
    expect(() => garble(circuit, 2, { delta, zeroLabels: zero.subarray(16), tweaks })).toThrow(
      /expected 256/,
    );
    for (const n of [0, -1, 1.5, 1025, Number.NaN]) {
      expect(() => garble(circuit, n, { delta, zeroLabels: zero, tweaks })).toThrow(
        /expected 1 to 1024 instances/,
      );
    }
    const short = { start: tweaks.start.subarray(1), first: 0 };
    expect(() => garble(circuit, 2, { delta, zeroLabels: zero, tweaks: short })).toThrow(
      RangeError,
    );
    const { tables } = garble(circuit, 2, { delta, zeroLabels: zero, tweaks });
    expect(() =>
      evaluateGarbled(circuit, 2, { labels: zero.subarray(16), tables, tweaks }),
    ).toThrow(RangeError);
    for (const bad of [tables.subarray(16), new Uint8Array(tables.length + 1)]) {
      const attempt = () => evaluateGarbled(circuit, 2, { labels: zero, tables: bad, tweaks });
      expect(attempt).toThrow(ProtocolError);
      expect(attempt).toThrow(/expected 192 bytes/);
    }
  });

  it('say so when a circuit does not fit in kernel memory', () => {
    const wide = allAlive(4000);
    const most = maxInstances(wide);
    expect(most).toBeLessThan(INSTANCES_PER_KEY);
    const zero = (n: number) => new Uint8Array(8000 * n * 16);
    const { delta, tweaks } = material(comparison(1), 1, 10);
    expect(() => garble(wide, most + 1, { delta, zeroLabels: zero(most + 1), tweaks })).toThrow(
      new RegExp(`${most} do$`),
    );
    // The stated maximum does fit, and the arena is whole again after success and after failure.
    const before = kernels().arena.scope(() => kernels().arena.alloc(0));
    garble(wide, most, { delta, zeroLabels: zero(most), tweaks }, { engine: NO_AES });
    expect(kernels().arena.scope(() => kernels().arena.alloc(0))).toBe(before);
    expect(maxInstances(comparison(13))).toBe(INSTANCES_PER_KEY);
  });
});

/** An engine that leaves blocks as they are: for tests of memory alone. */
const NO_AES: AesEngine = { ...wasmAes, encryptAt: () => {} };
