/** Variants of images: what one may undergo and still show the same thing. */

import { Stream } from '../../random.ts';
import type { Augment } from './images.ts';

/** A kind of augmentation, as data: for recipes, cards and other threads. */
export type Augmentation =
  | ({ readonly kind: 'motions' } & Motions)
  | {
      /** A random crop out of the image with `pad` black pixels around it; mirrored half of the time. */
      readonly kind: 'cropFlip';
      readonly pad: number;
    }
  | {
      /**
       * Moved by up to `shift` pixels each way, with the border's neighbours mirrored behind it; and turned around in every
       * second epoch, half of the images in each, so that two epochs show both sides of every image (Jordan, 2024).
       */
      readonly kind: 'shiftTurns';
      readonly shift: number;
      /** A grey square with so many pixels a side, anywhere, its middle inside the image (DeVries and Taylor, 2017); default: none. */
      readonly cutout?: number | undefined;
    };

/**
 * Makes the variants of an augmentation.
 * @param seeds the first of the training, the second the epoch
 */
export function augmenter(
  augmentation: Augmentation,
  seeds: readonly [number, number, ...number[]],
): Augment {
  const stream = new Stream(...seeds);
  if (augmentation.kind === 'motions') return smallMotions(stream, augmentation);
  if (augmentation.kind === 'cropFlip') return cropFlip(stream, augmentation.pad);
  return shiftTurns(stream, augmentation, seeds);
}

/** Marks the stream of each image's first side among those of a training's seed. LOCAL */
const SIDES = 0x51de5;

/** What a square that is cut out is filled with: about the mean of photographs, of 255. LOCAL */
const GREY = 120;

function shiftTurns(
  stream: Stream,
  { shift: most, cutout = 0 }: Extract<Augmentation, { kind: 'shiftTurns' }>,
  [seed, epoch]: readonly [number, number, ...number[]],
): Augment {
  const shift = () => Math.floor((2 * most + 1) * stream.uniform()) - most;
  return (pixels, [channels, height, width], out, index) => {
    const [down, right] = [shift(), shift()];
    const mirrored = (new Stream(seed, SIDES, index).bits() + epoch) % 2 === 1;
    const rows = Int32Array.from({ length: height }, (_, y) => reflect(y + down, height));
    const columns = Int32Array.from({ length: width }, (_, x) =>
      reflect((mirrored ? width - 1 - x : x) + right, width),
    );
    const within = (size: number) => Math.floor(size * stream.uniform()) - (cutout >> 1);
    const [top, left] = cutout > 0 ? [within(height), within(width)] : [0, 0];
    for (let c = 0, o = 0; c < channels; c++) {
      for (let y = 0; y < height; y++) {
        const line = (c * height + rows[y]!) * width;
        const cut = y >= top && y < top + cutout;
        for (let x = 0; x < width; x++, o++) {
          out[o] = cut && x >= left && x < left + cutout ? GREY : pixels[line + columns[x]!]!;
        }
      }
    }
  };
}

/** The place inside of `size` that a place up to `size` - 1 outside of it mirrors; the border's own is not doubled. */
function reflect(at: number, size: number): number {
  if (at < 0) return -at;
  return at < size ? at : 2 * (size - 1) - at;
}

function cropFlip(stream: Stream, pad: number): Augment {
  const shift = () => Math.floor((2 * pad + 1) * stream.uniform()) - pad;
  return (pixels, [channels, height, width], out) => {
    const [down, right] = [shift(), shift()];
    const mirrored = stream.uniform() < 0.5;
    for (let c = 0, o = 0; c < channels; c++) {
      for (let row = 0; row < height; row++) {
        const y = row + down;
        const line = (c * height + y) * width;
        for (let column = 0; column < width; column++, o++) {
          const x = (mirrored ? width - 1 - column : column) + right;
          const inside = y >= 0 && y < height && x >= 0 && x < width;
          out[o] = inside ? pixels[line + x]! : 0;
        }
      }
    }
  };
}

/** How far `smallMotions` go at most. */
export interface Motions {
  /** Pixels, each way. */
  readonly shift: number;
  /** Radians, each way. */
  readonly rotation: number;
  /** Relative growth or shrinking, each axis on its own. */
  readonly scale: number;
  /** Horizontal pixels per vertical pixel, each way. */
  readonly shear: number;
}

/** Random shift, rotation, scale and shear about the middle, sampled bilinearly, black outside. */
export function smallMotions(stream: Stream, most: Motions): Augment {
  return (pixels, [channels, height, width], out) => {
    const angle = stream.symmetric(most.rotation);
    const [grow, shrink] = [1 + stream.symmetric(most.scale), 1 + stream.symmetric(most.scale)];
    const slant = stream.symmetric(most.shear);
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    // Source = middle + matrix * (target - middle) + shift
    const xx = cos * grow;
    const xy = slant * cos * grow - sin * shrink;
    const yx = sin * grow;
    const yy = slant * sin * grow + cos * shrink;
    const [mx, my] = [(width - 1) / 2, (height - 1) / 2];
    const [sx, sy] = [mx + stream.symmetric(most.shift), my + stream.symmetric(most.shift)];
    for (let c = 0, o = 0; c < channels; c++) {
      const plane = c * height * width;
      const pixel = (x: number, y: number) =>
        x >= 0 && x < width && y >= 0 && y < height ? pixels[plane + y * width + x]! : 0;
      for (let row = 0; row < height; row++) {
        for (let column = 0; column < width; column++, o++) {
          const x = sx + xx * (column - mx) + xy * (row - my);
          const y = sy + yx * (column - mx) + yy * (row - my);
          const [left, top] = [Math.floor(x), Math.floor(y)];
          const [fx, fy] = [x - left, y - top];
          const upper = pixel(left, top) * (1 - fx) + pixel(left + 1, top) * fx;
          const lower = pixel(left, top + 1) * (1 - fx) + pixel(left + 1, top + 1) * fx;
          out[o] = upper * (1 - fy) + lower * fy;
        }
      }
    }
  };
}
