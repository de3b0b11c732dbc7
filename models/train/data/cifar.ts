/**
 * CIFAR-10's binary files: records of one label byte and 3072 pixel bytes (red, green and blue planes of 32x32). Files
 * may be compressed with Brotli, which their name says: `.br`.
 */

import { brotliDecompressSync } from 'node:zlib';
import type { LabelledImages } from './images.ts';

const SHAPE = [3, 32, 32] as const;
const PIXELS = 3 * 32 * 32;
const CLASSES = 10;

/** Most bytes a file may unpack to. LOCAL; one of CIFAR-10's batches has 31 million. */
const LIMIT = 1 << 28;

/** Names of CIFAR-10's classes. */
export const CIFAR10_LABELS: readonly string[] = [
  'airplane',
  'automobile',
  'bird',
  'cat',
  'deer',
  'dog',
  'frog',
  'horse',
  'ship',
  'truck',
];

/**
 * Reads a file of CIFAR-10 records, unpacking it first when its name ends in `.br`.
 * @param name the file's name, also for error messages
 * @throws RangeError with one sentence when the file is not what it should be
 */
export function readCifar(file: Uint8Array, name: string): LabelledImages {
  const bytes = name.endsWith('.br') ? unpack(file, name) : file;
  const count = bytes.length / (1 + PIXELS);
  if (count === 0 || !Number.isInteger(count)) {
    throw new RangeError(
      `${name} is not a CIFAR-10 file: it has ${bytes.length} bytes, not a multiple of ${1 + PIXELS}`,
    );
  }
  const pixels = new Uint8Array(count * PIXELS);
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const record = bytes.subarray(i * (1 + PIXELS), (i + 1) * (1 + PIXELS));
    labels[i] = record[0]!;
    if (record[0]! >= CLASSES) {
      throw new RangeError(`${name} is not a CIFAR-10 file: record ${i} has label ${record[0]}`);
    }
    pixels.set(record.subarray(1), i * PIXELS);
  }
  return { shape: SHAPE, pixels, labels };
}

function unpack(file: Uint8Array, name: string): Uint8Array {
  try {
    return brotliDecompressSync(file, { maxOutputLength: LIMIT });
  } catch (cause) {
    throw new RangeError(`${name} cannot be unpacked: it is cut short, damaged or too large`, {
      cause,
    });
  }
}
