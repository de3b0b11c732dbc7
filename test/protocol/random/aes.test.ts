import { createCipheriv } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { kernels } from '../../../protocol/kernels/index.ts';
import {
  type AesEngine,
  aesCounterStream,
  aesEncryptBlocks,
  defaultAes,
  fastestAes,
  opensslAes,
  wasmAes,
} from '../../../protocol/random/aes.ts';
import { Prg, randomBytes } from '../../../protocol/random/index.ts';
import { hex, unhex } from '../../support/bytes.ts';

// SP 800-38A, Appendix F: key and plaintext of the AES-128 examples.
const KEY = unhex('2b7e151628aed2a6abf7158809cf4f3c');
const PLAIN = unhex(`
  6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
  30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710`);

const engines: AesEngine[] = [opensslAes!, wasmAes];

describe.each(engines)('AES engine $name', (engine) => {
  it('encrypts SP 800-38A F.1.1 (ECB-AES128)', () => {
    expect(hex(engine.encryptBlocks(KEY, PLAIN))).toBe(
      '3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf' +
        '43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4',
    );
  });

  it('encrypts the counter blocks of SP 800-38A F.5.1 (CTR-AES128)', () => {
    const counters = unhex(`
      f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff f0f1f2f3f4f5f6f7f8f9fafbfcfdff00
      f0f1f2f3f4f5f6f7f8f9fafbfcfdff01 f0f1f2f3f4f5f6f7f8f9fafbfcfdff02`);
    const cipher = engine.encryptBlocks(KEY, counters).map((byte, i) => byte ^ PLAIN[i]!);
    expect(hex(cipher)).toBe(
      '874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff' +
        '5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee',
    );
  });

  it('agrees with node:crypto on 10,000 random blocks', () => {
    const prg = new Prg(new Uint8Array(16).fill(2));
    const input = randomBytes(prg, 160_000);
    const cipher = createCipheriv('aes-128-ecb', KEY, null).setAutoPadding(false);
    expect(hex(engine.encryptBlocks(KEY, input))).toBe(hex(cipher.update(input)));
  });

  it('streams the same counter mode as ECB of big-endian counters, across 2^32', () => {
    for (const first of [0, 1, 2 ** 32 - 2, 2 ** 40 + 5, Number.MAX_SAFE_INTEGER - 3]) {
      const counters = new Uint8Array(64);
      for (let i = 0; i < 4; i++) {
        new DataView(counters.buffer).setBigUint64(16 * i + 8, BigInt(first) + BigInt(i));
      }
      const expected = engine.encryptBlocks(KEY, counters);
      for (const length of [0, 1, 15, 16, 17, 63, 64]) {
        const out = new Uint8Array(length);
        engine.counterStream(KEY, first, out);
        expect(hex(out)).toBe(hex(expected.subarray(0, length)));
      }
    }
  });

  it('continues a stream across its pieces, into an unaligned destination', () => {
    const out = new Uint8Array(3 * 65536 + 22).subarray(1);
    engine.counterStream(KEY, 7, out);
    const expected = createCipheriv('aes-128-ctr', KEY, unhex(`${'00'.repeat(15)}07`));
    expect(hex(out)).toBe(hex(expected.update(new Uint8Array(out.length))));
  });

  it('encrypts kernel memory, in place and from elsewhere, and nothing beside it', () => {
    const { arena } = kernels();
    arena.scope(() => {
      const pointer = arena.alloc(96);
      const view = arena.u8(pointer, 96).fill(9);
      view.set(PLAIN, 16);
      const source = arena.put(PLAIN);
      for (const from of [pointer + 16, source]) {
        view.subarray(16, 80).set(from === source ? new Uint8Array(64) : PLAIN);
        engine.encryptAt(KEY, pointer + 16, from, 4);
        expect(hex(view.subarray(16, 80))).toBe(hex(engine.encryptBlocks(KEY, PLAIN)));
      }
      expect(arena.u8(source, 64)).toEqual(PLAIN);
      expect([...view.subarray(0, 16), ...view.subarray(80)].every((byte) => byte === 9)).toBe(
        true,
      );
    });
  });

  it('refuses wrong lengths and counters', () => {
    expect(() => engine.encryptBlocks(KEY.subarray(1), PLAIN)).toThrow(RangeError);
    expect(() => engine.encryptBlocks(KEY, PLAIN.subarray(1))).toThrow(RangeError);
    expect(() => engine.encryptAt(KEY.subarray(1), 64, 64, 1)).toThrow(RangeError);
    expect(() => engine.counterStream(KEY.subarray(1), 0, PLAIN.slice())).toThrow(RangeError);
    for (const first of [-1, 0.5, 2 ** 53, Number.NaN]) {
      expect(() => engine.counterStream(KEY, first, PLAIN.slice())).toThrow(RangeError);
    }
    expect(engine.encryptBlocks(KEY, new Uint8Array(0))).toHaveLength(0);
  });
});

describe('AES engines', () => {
  it('leaves OpenSSL aside for a few blocks a key', () => {
    expect(fastestAes(2).name).toBe('wasm');
    expect(fastestAes(1024).name).toBe('openssl');
  });

  it('falls back to WASM where there is no node:crypto, as in a browser', async () => {
    vi.resetModules();
    const builtin = vi.spyOn(process, 'getBuiltinModule').mockReturnValue(undefined);
    const browser = await import('../../../protocol/random/aes.ts');
    builtin.mockRestore();
    expect(browser.opensslAes).toBeUndefined();
    expect(browser.defaultAes.name).toBe('wasm');
    expect(browser.fastestAes(1024).name).toBe('wasm');
    expect(hex(browser.aesEncryptBlocks(KEY, PLAIN))).toBe(hex(aesEncryptBlocks(KEY, PLAIN)));
    const out = new Uint8Array(1000);
    browser.aesCounterStream(KEY, 9, out);
    const expected = new Uint8Array(1000);
    aesCounterStream(KEY, 9, expected);
    expect(hex(out)).toBe(hex(expected));
  });

  it('prefers OpenSSL where there is one', () => {
    expect(defaultAes.name).toBe('openssl');
    expect(hex(aesEncryptBlocks(KEY, PLAIN))).toBe(hex(wasmAes.encryptBlocks(KEY, PLAIN)));
    const a = new Uint8Array(100);
    const b = new Uint8Array(100);
    aesCounterStream(KEY, 3, a);
    wasmAes.counterStream(KEY, 3, b);
    expect(hex(a)).toBe(hex(b));
  });

  it('give the same bits for inputs longer than a piece', () => {
    const input = randomBytes(new Prg(new Uint8Array(16).fill(3)), 2 * 65536 + 48);
    expect(hex(opensslAes!.encryptBlocks(KEY, input))).toBe(hex(wasmAes.encryptBlocks(KEY, input)));
  });
});
