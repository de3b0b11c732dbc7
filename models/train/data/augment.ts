/** Variants of images: what one may undergo and still show the same thing. */

import type { Stream } from '../random.ts';
import type { Augment } from './images.ts';

/** A kind of augmentation, as data: for recipes, cards and other threads. */
export type Augmentation =
  | ({ readonly kind: 'motions' } & Motions)
  | {
      /** A random crop out of the image with `pad` black pixels around it; mirrored half of the time. */
      readonly kind: 'cropFlip';
      readonly pad: number;
    };

/** Makes the variants of an augmentation from a stream. */
export function augmenter(augmentation: Augmentation, stream: Stream): Augment {
  if (augmentation.kind === 'motions') return smallMotions(stream, augmentation);
  return cropFlip(stream, augmentation.pad);
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
