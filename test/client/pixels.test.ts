import { describe, expect, it } from 'vitest';
import { centredDigit, DIGIT_SIDE } from '../../client/web/digit.ts';
import { correlation } from '../../client/web/seen.ts';
import { drawDigit } from '../../models/zoo/draw.ts';
import { pixelsOfRgba, pixelsOfTensor } from '../../protocol/program/pixels.ts';

describe('pixels', () => {
  it('of an ImageData: planes of colours, or luminance that keeps gray exactly', () => {
    const data = Uint8ClampedArray.of(255, 0, 0, 255, 51, 51, 51, 0);
    const image = { width: 2, height: 1, data };
    expect(pixelsOfRgba(image, [3, 1, 2])).toEqual(Float32Array.of(1, 0.2, 0, 0.2, 0, 0.2));
    expect(pixelsOfRgba(image, [1, 1, 2])).toEqual(Float32Array.of(0.299, 0.2));
    expect(() => pixelsOfRgba(image, [1, 2, 1])).toThrow(/^the image is 2x1, the model takes 1x2$/);
    expect(() => pixelsOfRgba(image, [2, 1, 2])).toThrow(/^the model takes 2 channels/);
  });

  it('of a tensor: floats as they are, bytes by 255, a batch of one or none', () => {
    const floats = Float32Array.of(0, 0.5, 1, 0.25);
    expect(pixelsOfTensor({ data: floats, dims: [1, 1, 2, 2] }, [1, 2, 2])).toEqual(floats);
    const bytes = Uint8Array.of(0, 255, 51, 102);
    expect(pixelsOfTensor({ data: bytes, dims: [1, 2, 2] }, [1, 2, 2])).toEqual(
      Float32Array.of(0, 1, 0.2, 0.4),
    );
    for (const dims of [[2, 1, 2], [1, 4], [2, 1, 2, 2], [4], []]) {
      expect(() => pixelsOfTensor({ data: floats, dims }, [1, 2, 2])).toThrow(RangeError);
    }
    expect(() => pixelsOfTensor({ data: floats.subarray(1), dims: [1, 2, 2] }, [1, 2, 2])).toThrow(
      /^a tensor of 1x2x2 with 3 elements: the model takes 1x2x2$/,
    );
  });
});

describe('a digit', () => {
  const side = 140;
  /** The digit of 28 x 28, three times as large and moved, on a larger sheet. */
  function sheet(digit: number, left: number, top: number, paper = false) {
    const small = drawDigit(digit);
    const data = new Float32Array(side * side);
    for (let y = 0; y < 84; y++) {
      for (let x = 0; x < 84; x++) {
        const value = small[Math.floor(y / 3) * 28 + Math.floor(x / 3)]! / 255;
        data[(top + y) * side + left + x] = value;
      }
    }
    return { width: side, height: side, data: paper ? data.map((value) => 1 - value) : data };
  }
  const like = (digit: number) => Float32Array.from(drawDigit(digit), (value) => value / 255);

  it('is centred and scaled, wherever and however large it was drawn', () => {
    for (const digit of [0, 2, 4, 7]) {
      const centred = centredDigit(sheet(digit, 50, 5))!;
      expect(centred).toHaveLength(DIGIT_SIDE * DIGIT_SIDE);
      expect(correlation(centred, like(digit))).toBeGreaterThan(0.9);
      // Somewhere else, the same.
      const moved = centredDigit(sheet(digit, 3, 40))!;
      expect(Math.max(...moved.map((value, i) => Math.abs(value - centred[i]!)))).toBeLessThan(
        1e-4,
      );
      expect(correlation(centred, like((digit + 1) % 10))).toBeLessThan(0.7);
      expect(Math.min(...centred)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...centred)).toBeLessThanOrEqual(1);
    }
  });

  it('on white paper is turned round', () => {
    const dark = centredDigit(sheet(3, 20, 20, true))!;
    expect(correlation(dark, centredDigit(sheet(3, 20, 20))!)).toBeGreaterThan(0.999);
  });

  it('is nothing when nothing is drawn', () => {
    const data = new Float32Array(100);
    expect(centredDigit({ width: 10, height: 10, data })).toBeUndefined();
    expect(centredDigit({ width: 10, height: 10, data: data.fill(1) })).toBeUndefined();
  });

  it('correlates with itself, its negative, a constant', () => {
    const digit = like(5);
    expect(correlation(digit, digit)).toBeCloseTo(1, 6);
    expect(
      correlation(
        digit,
        digit.map((value) => 1 - value),
      ),
    ).toBeCloseTo(-1, 6);
    expect(correlation(digit, new Float32Array(784))).toBe(0);
  });
});
