import { createCipheriv } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { corrupted, ProtocolError } from '../../../protocol/errors.ts';
import { DEFAULT_OT_K, OT_KS, type OtK, otKFor } from '../../../protocol/ot/groups.ts';
import {
  COTS_PER_CHUNK,
  extendReceiver,
  extendSender,
  extensionBytes,
  prepareReceiver,
  prepareSender,
  SLICES_PER_KEY,
  treeBytes,
} from '../../../protocol/ot/softspoken.ts';
import { INSTANCES_PER_KEY, tweakKey } from '../../../protocol/random/hash.ts';
import { randomBytes } from '../../../protocol/random/index.ts';
import { bit, block, broken, dealtBase, dealtSeeds, stream } from './support.ts';

/** Bits of each group. */
const widths: Record<OtK, number[]> = {
  4: new Array(32).fill(4),
  6: [...new Array(18).fill(6), ...new Array(4).fill(5)],
  8: new Array(16).fill(8),
};

/** Each group: its bits, the first of them, and its first leaf. */
function groupsOf(k: OtK): { width: number; bit: number; leaf: number }[] {
  let [bit, leaf] = [0, 0];
  return widths[k].map((width) => {
    const group = { width, bit, leaf };
    bit += width;
    leaf += 1 << width;
    return group;
  });
}

const random = stream(10);
const packed = (count: number) => randomBytes(random, Math.ceil(count / 8));

describe.each(OT_KS)('SoftSpoken extension, k = %i', (k) => {
  const { receiver, sender } = dealtSeeds(stream(20 + k), k);

  it.each([1, 7, 127, 128, 129, 1000, 4096])('correlates %i blocks', (count) => {
    const choices = packed(count);
    const { message, blocks } = extendReceiver(receiver, 3, count, choices);
    expect(message.length).toBe(extensionBytes(count, k));
    expect(message.length).toBe((Math.ceil(count / 128) + 1) * 16 * Math.ceil(128 / k) + 48);
    const q = extendSender(sender, 3, count, message);
    expect(q.length).toBe(16 * count);
    expect(broken(q, blocks, choices, sender.offset, count)).toBe(0);
    // With another offset nothing fits: the relation above is no accident of zeros.
    const other = sender.offset.map((byte) => byte ^ 1);
    const ones = choices.reduce((sum, byte, i) => {
      const used = byte & (count >= 8 * i + 8 ? 255 : (1 << (count - 8 * i)) - 1);
      return sum + used.toString(2).replaceAll('0', '').length;
    }, 0);
    expect(broken(q, blocks, choices, other, count)).toBe(ones);
  });

  it('gives fresh blocks in every chunk, none of them twice', () => {
    const count = 256;
    const seen = new Set<string>();
    for (const chunk of [0, 1, 2, 1e6]) {
      const { message, blocks } = extendReceiver(receiver, chunk, count, new Uint8Array(32));
      const q = extendSender(sender, chunk, count, message);
      expect(q).toEqual(blocks);
      for (let i = 0; i < count; i++) seen.add(q.subarray(16 * i, 16 * i + 16).join());
    }
    expect(seen.size).toBe(4 * count);
  });

  it('equals the definition, written out leaf by leaf', () => {
    const chunk = 5;
    const choices = packed(1408);
    const { message, blocks } = extendReceiver(receiver, chunk, 1408, choices);
    const groups = groupsOf(k);
    expect(receiver.leaves.length).toBe(16 * groups.reduce((sum, g) => sum + (1 << g.width), 0));
    const perKey = { 4: 8, 6: 4, 8: 1 }[k];
    for (const slice of [0, 1, 3, 4, 7, 8, 10]) {
      const columns: Uint8Array[] = [];
      for (const [g, { width, leaf }] of groups.entries()) {
        const u = new Uint8Array(16);
        const v = Array.from({ length: width }, () => new Uint8Array(16));
        for (let x = 0; x < 1 << width; x++) {
          const seed = receiver.leaves.slice(16 * (leaf + x), 16 * (leaf + x) + 16);
          // Some slices share a key; each encrypts the seed with its place among them in the lowest bits.
          const number = (chunk * 256) / perKey + Math.floor(slice / perKey);
          const key = tweakKey(receiver.start, number);
          seed[0]! ^= slice % perKey;
          const cipher = createCipheriv('aes-128-ecb', key, null)
            .setAutoPadding(false)
            .update(seed);
          for (let i = 0; i < 16; i++) {
            const stream = cipher[i]! ^ seed[i]!;
            u[i]! ^= stream;
            v.forEach((row, b) => {
              row[i]! ^= ((x >> b) & 1) * stream;
            });
          }
        }
        columns.push(...v);
        const at = (slice * groups.length + g) * 16;
        const d = u.map((byte, i) => byte ^ choices[16 * slice + i]!);
        expect(message.slice(at, at + 16)).toEqual(d);
      }
      for (const j of [0, 1, 77, 127]) {
        const t = new Uint8Array(16);
        columns.forEach((column, r) => {
          t[r >> 3]! |= bit(column, j) << (r & 7);
        });
        expect(block(blocks, 128 * slice + j)).toEqual(t);
      }
    }
  });

  it('serves any offset with the same setup message', () => {
    const base = dealtBase(stream(50));
    const prepare = () => prepareReceiver(new Uint8Array(16), base.sender, stream(51), k);
    expect(prepare()).toEqual(prepare());
    const flipped = base.receiver.choices.map((byte) => byte ^ 0xff);
    const zero = base.sender.zero;
    const one = base.sender.one;
    const chosen = base.receiver.chosen.map((byte, i) => byte ^ zero[i]! ^ one[i]!);
    const { message, seeds } = prepare();
    for (const keys of [base.receiver, { choices: flipped, chosen }]) {
      const other = prepareSender(new Uint8Array(16), keys, message, k);
      const choices = packed(300);
      const part = extendReceiver(seeds, 0, 300, choices);
      const q = extendSender(other, 0, 300, part.message);
      expect(broken(q, part.blocks, choices, keys.choices, 300)).toBe(0);
    }
  });

  it('leaves exactly one seed of each tree unknown', () => {
    for (const { width, bit: first, leaf } of groupsOf(k)) {
      let delta = 0;
      for (let b = 0; b < width; b++) delta |= bit(sender.offset, first + b) << b;
      for (let y = 0; y < 1 << width; y++) {
        const mine = block(sender.leaves, leaf + y);
        const theirs = block(receiver.leaves, leaf + (y ^ delta));
        if (y === 0) expect(mine).toEqual(new Uint8Array(16));
        else expect(mine).toEqual(theirs);
      }
    }
  });
});

describe('SoftSpoken extension', () => {
  it('hides no more blocks under one key than the block hash is proven for', () => {
    for (const k of OT_KS) {
      expect(SLICES_PER_KEY[k] * widths[k].length).toBeLessThanOrEqual(INSTANCES_PER_KEY);
      // Keys are numbered through all chunks.
      expect((COTS_PER_CHUNK / 128 + 1) % SLICES_PER_KEY[k]).toBe(0);
      expect(widths[k].reduce((sum, width) => sum + width)).toBe(128);
    }
  });

  it('has a k for every link, larger on slower ones', () => {
    expect([undefined, 1e9, 100e6, 99e6, 20e6, 10e6, 9e6, 1].map((rate) => otKFor(rate))).toEqual([
      DEFAULT_OT_K,
      4,
      4,
      6,
      6,
      6,
      8,
      8,
    ]);
    for (const rate of [0, -1, Number.NaN]) expect(() => otKFor(rate)).toThrow(RangeError);
  });

  it('does not correlate parties of different k', () => {
    const { receiver } = dealtSeeds(stream(80), 6);
    const { sender } = dealtSeeds(stream(80), 4);
    const part = extendReceiver(receiver, 0, 128, packed(128));
    expect(() => extendSender(sender, 0, 128, part.message)).toThrow(ProtocolError);
    const padded = new Uint8Array(extensionBytes(128, 4));
    padded.set(part.message);
    expect(() => extendSender(sender, 0, 128, padded)).toThrow(corrupted().message);
  });

  const { receiver, sender } = dealtSeeds(stream(30));

  it.each(OT_KS)('fills a whole chunk and refuses one more, k = %i', (k) => {
    const { receiver, sender } = dealtSeeds(stream(32), k);
    const choices = packed(COTS_PER_CHUNK);
    const { message, blocks } = extendReceiver(receiver, 0, COTS_PER_CHUNK, choices);
    const q = extendSender(sender, 0, COTS_PER_CHUNK, message);
    expect(broken(q, blocks, choices, sender.offset, COTS_PER_CHUNK)).toBe(0);
    for (const count of [0, -1, 1.5, COTS_PER_CHUNK + 1]) {
      expect(() => extensionBytes(count, k)).toThrow(RangeError);
    }
  });

  it('uses neighbouring chunks without overlap', () => {
    // The last slice of a full chunk and the first of the next are different blocks of the streams.
    const full = extendReceiver(receiver, 0, COTS_PER_CHUNK, new Uint8Array(COTS_PER_CHUNK / 8));
    const next = extendReceiver(receiver, 1, 128, new Uint8Array(16));
    expect(next.blocks).not.toEqual(full.blocks.slice(-2048));
    // The last slice of corrections is the one thrown away.
    const last = full.message.slice(-48 - 512, -48);
    for (const at of [0, 512]) expect(next.message.slice(at, at + 512)).not.toEqual(last);
  });

  it('writes where it is told, and nothing beside it', () => {
    const choices = packed(1100);
    const made = extendReceiver(receiver, 13, 1100, choices);
    const q = extendSender(sender, 13, 1100, made.message);
    const inside = (room: Uint8Array, bytes: Uint8Array) => {
      expect(room.subarray(7, 7 + bytes.length)).toEqual(bytes);
      expect([...room.subarray(0, 7), ...room.subarray(7 + bytes.length)]).toEqual(
        new Array(room.length - bytes.length).fill(9),
      );
    };
    const rooms = [made.message, made.blocks, q].map(({ length }) =>
      new Uint8Array(length + 20).fill(9),
    ) as [Uint8Array, Uint8Array, Uint8Array];
    const [message, blocks, mine] = rooms.map((room) => room.subarray(7, -13)) as typeof rooms;
    extendReceiver(receiver, 13, 1100, choices, { room: { message, blocks } });
    extendSender(sender, 13, 1100, message, { blocks: mine });
    inside(rooms[0], made.message);
    inside(rooms[1], made.blocks);
    inside(rooms[2], q);
  });

  it('makes the same bits without OpenSSL, as in a browser', async () => {
    const native = process.getBuiltinModule;
    vi.resetModules();
    const spy = vi
      .spyOn(process, 'getBuiltinModule')
      .mockImplementation(((id: string) =>
        id === 'node:crypto' ? undefined : native(id)) as typeof native);
    try {
      const aes = await import('../../../protocol/random/aes.ts');
      expect(aes.opensslAes).toBeUndefined();
      const browser = await import('../../../protocol/ot/softspoken.ts');
      for (const k of OT_KS) {
        const { receiver, sender } = dealtSeeds(stream(31), k);
        const choices = packed(1000);
        const here = extendReceiver(receiver, 12, 1000, choices);
        expect(browser.extendReceiver(receiver, 12, 1000, choices)).toEqual(here);
        const q = browser.extendSender(sender, 12, 1000, here.message);
        expect(q).toEqual(extendSender(sender, 12, 1000, here.message));
      }
    } finally {
      spy.mockRestore();
      vi.resetModules();
    }
  });

  it('planted fault: a chunk number used twice opens the choices to the sender', () => {
    const first = packed(128);
    const second = packed(128);
    const a = extendReceiver(receiver, 9, 128, first).message;
    const b = extendReceiver(receiver, 9, 128, second).message;
    const difference = first.map((byte, i) => byte ^ second[i]!);
    for (let g = 0; g < 32; g++) {
      const leaked = a.slice(16 * g, 16 * g + 16).map((byte, i) => byte ^ b[16 * g + i]!);
      expect(leaked).toEqual(difference);
    }
    // With numbers of their own the messages have nothing in common.
    const c = extendReceiver(receiver, 10, 128, second).message;
    expect(a.slice(0, 16).map((byte, i) => byte ^ c[i]!)).not.toEqual(difference);
  });

  it('binds the context into trees and streams', () => {
    const base = dealtBase(stream(60));
    const [one, two] = [1, 2].map((fill) =>
      prepareReceiver(new Uint8Array(16).fill(fill), base.sender, stream(61)),
    );
    expect(one!.seeds.leaves).not.toEqual(two!.seeds.leaves);
    expect(one!.seeds.start).not.toEqual(two!.seeds.start);
    // A sender with another context gets nothing that fits.
    const lost = prepareSender(new Uint8Array(16).fill(2), base.receiver, one!.message);
    const choices = packed(128);
    const part = extendReceiver(one!.seeds, 0, 128, choices);
    expect(() => extendSender(lost, 0, 128, part.message)).toThrow(corrupted().message);
  });

  it('refuses messages of the wrong length and callers with the wrong numbers', () => {
    const base = dealtBase(stream(70));
    const context = new Uint8Array(16);
    for (const bytes of [0, treeBytes() - 1, treeBytes() + 1]) {
      const work = () => prepareSender(context, base.receiver, new Uint8Array(bytes));
      expect(work).toThrow(ProtocolError);
      expect(work).toThrow(`expected ${treeBytes()} bytes`);
    }
    for (const k of OT_KS) {
      const { sender } = dealtSeeds(stream(71), k);
      const right = extensionBytes(128, k);
      for (const bytes of [0, right - 1, right + 1, 2 * right]) {
        expect(() => extendSender(sender, 0, 128, new Uint8Array(bytes))).toThrow(ProtocolError);
      }
    }
    expect(() => extendReceiver(receiver, 0, 128, new Uint8Array(17))).toThrow(RangeError);
    for (const k of [0, 3, 5, 16, 6.5] as number[] as OtK[]) {
      expect(() => prepareReceiver(context, base.sender, stream(1), k)).toThrow(RangeError);
      const message = new Uint8Array(treeBytes());
      expect(() => prepareSender(context, base.receiver, message, k)).toThrow(RangeError);
      expect(() => extensionBytes(128, k)).toThrow(RangeError);
    }
  });

  it.each([
    ['zeros', 0x00],
    ['ones', 0xff],
    ['a pattern', 0x35],
  ])('sends uniform bytes when the choices are %s', (_name, fill) => {
    const counts = new Float64Array(256);
    const total = 4 * extensionBytes(COTS_PER_CHUNK);
    for (let chunk = 20; chunk < 24; chunk++) {
      const choices = new Uint8Array(COTS_PER_CHUNK / 8).fill(fill);
      const { message } = extendReceiver(receiver, chunk, COTS_PER_CHUNK, choices);
      for (const byte of message) counts[byte]!++;
    }
    const expected = total / 256;
    const chi = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // 255 degrees of freedom: mean 255, deviation 22.6; six deviations either way.
    expect(chi).toBeGreaterThan(255 - 136);
    expect(chi).toBeLessThan(255 + 136);
  });
});
