import { createCipheriv } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { kernels } from '../../../protocol/kernels/index.ts';
import { Prg, randomBytes } from '../../../protocol/random/index.ts';
import { hex, unhex } from '../../support/bytes.ts';

/** The kernel's ECB through its raw interface, source and destination apart. */
function encrypt(key: Uint8Array, input: Uint8Array): Uint8Array {
  const { arena, aes } = kernels();
  return arena.scope(() => {
    const state = arena.alloc(1024);
    const roundKeys = arena.alloc(11 * 128);
    aes.expandKey(roundKeys, arena.put(key), state);
    const src = arena.put(input);
    const dst = arena.alloc(input.length + 16);
    const guard = arena.u8(dst + input.length, 16).fill(0xa5);
    aes.encryptBlocks(dst, src, input.length / 16, roundKeys, state);
    expect(guard.every((byte) => byte === 0xa5)).toBe(true);
    expect(arena.u8(src, input.length)).toEqual(input);
    return arena.u8(dst, input.length).slice();
  });
}

/** Byte p of plane b of round key r is 0xff where bit b of key byte p is set, 0x63 folded into rounds 1 to 10. */
function roundKey(key: Uint8Array, round: number): string {
  const { arena, aes } = kernels();
  return arena.scope(() => {
    const out = arena.alloc(11 * 128);
    aes.expandKey(out, arena.put(key), arena.alloc(128));
    const planes = arena.u8(out + 128 * round, 128);
    const bytes = new Uint8Array(16).fill(round === 0 ? 0 : 0x63);
    planes.forEach((plane, i) => {
      expect(plane === 0 || plane === 0xff).toBe(true);
      bytes[i % 16]! ^= plane & (1 << Math.floor(i / 16));
    });
    return hex(bytes);
  });
}

describe('AES kernel', () => {
  it('expands the key of FIPS-197 Appendix A.1', () => {
    const key = unhex('2b7e151628aed2a6abf7158809cf4f3c');
    expect(roundKey(key, 0)).toBe('2b7e151628aed2a6abf7158809cf4f3c');
    expect(roundKey(key, 1)).toBe('a0fafe1788542cb123a339392a6c7605');
    expect(roundKey(key, 2)).toBe('f2c295f27a96b9435935807a7359f67f');
    expect(roundKey(key, 9)).toBe('ac7766f319fadc2128d12941575c006e');
    expect(roundKey(key, 10)).toBe('d014f9a8c9ee2589e13f0cc8b6630ca6');
  });

  it('encrypts the examples of FIPS-197 Appendices B and C.1', () => {
    const b = encrypt(
      unhex('2b7e151628aed2a6abf7158809cf4f3c'),
      unhex('3243f6a8885a308d313198a2e0370734'),
    );
    expect(hex(b)).toBe('3925841d02dc09fbdc118597196a0b32');
    const c = encrypt(
      unhex('000102030405060708090a0b0c0d0e0f'),
      unhex('00112233445566778899aabbccddeeff'),
    );
    expect(hex(c)).toBe('69c4e0d86a7b0430d8cdb78070b4c55a');
  });

  it('agrees with node:crypto for any number of blocks around a state of 8 and a batch of 64', () => {
    const prg = new Prg(new Uint8Array(16).fill(1));
    for (let blocks = 1; blocks <= 137; blocks++) {
      const key = randomBytes(prg, 16);
      const input = randomBytes(prg, 16 * blocks);
      const cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false);
      expect(hex(encrypt(key, input))).toBe(hex(cipher.update(input)));
    }
  });

  it('puts every input byte through the S-box in every position', () => {
    // Blocks that are constant in all bytes but one reach each of the 256 values at each of the 16 positions.
    const input = new Uint8Array(16 * 16 * 256);
    for (let p = 0; p < 16; p++) {
      for (let v = 0; v < 256; v++) input[16 * (256 * p + v) + p] = v;
    }
    const key = new Uint8Array(16);
    const cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false);
    expect(hex(encrypt(key, input))).toBe(hex(cipher.update(input)));
  });
});
