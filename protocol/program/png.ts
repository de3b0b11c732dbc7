/** PNG files, decoded within bounds that follow from their header, before anything is unpacked. Node only. */

import { inflateSync } from 'node:zlib';
import { PNG } from 'pngjs';
import type { RgbaImage } from './pixels.ts';

/** What the header of a PNG file says. */
export interface PngHeader {
  readonly width: number;
  readonly height: number;
  /** Bits of a pixel. */
  readonly bits: number;
  /** Whether it is stored in the seven passes of Adam7. */
  readonly interlaced: boolean;
}

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

/** Signature, then the chunk IHDR: length, type, width, height, depth, colour type, three methods. */
const HEADER_BYTES = 29;

/** Numbers of a pixel, by colour type. */
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

/** Column and row of the first pixel of each pass of Adam7, and the steps to the next. */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

const ONE_PASS = [[0, 0, 1, 1]] as const;

/** Reads a PNG file's header; undefined when it is no PNG file. */
export function readPngHeader(bytes: Uint8Array): PngHeader | undefined {
  if (bytes.length < HEADER_BYTES || !SIGNATURE.every((byte, i) => bytes[i] === byte)) {
    return undefined;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    width: view.getUint32(16),
    height: view.getUint32(20),
    // 0 for a colour type that PNG does not have.
    bits: bytes[24]! * (CHANNELS[bytes[25]!] ?? 0),
    interlaced: bytes[28] !== 0,
  };
}

/**
 * Decodes a PNG file of few enough pixels, which the caller checks by its header.
 * @param name - the file's, for messages
 * @throws RangeError with one sentence when it is no PNG file, is damaged, or unpacks to more than its pixels take
 */
export function decodePng(bytes: Uint8Array, name: string): RgbaImage {
  const header = readPngHeader(bytes);
  if (header === undefined) throw new RangeError(`${name} is not a PNG file`);
  if (header.bits === 0) {
    throw new RangeError(
      `${name} is a damaged PNG file: there are no pixels of colour type ${bytes[25]} with ${bytes[24]} bits`,
    );
  }
  checkUnpacked(bytes, header, name);
  try {
    return PNG.sync.read(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (cause) {
    throw new RangeError(`${name} is a damaged PNG file`, { cause });
  }
}

/** @throws RangeError when the pixels unpack to more bytes than an image of that size has */
function checkUnpacked(bytes: Uint8Array, header: PngHeader, name: string): void {
  try {
    inflateSync(Buffer.concat(pixelChunks(bytes)), { maxOutputLength: unpackedBytes(header) });
  } catch (cause) {
    const long = (cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    const what = long ? `: it unpacks to more than ${header.width}x${header.height} pixels` : '';
    throw new RangeError(`${name} is a damaged PNG file${what}`, { cause });
  }
}

/** The packed pixels: the contents of all chunks IDAT. */
function pixelChunks(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks: Uint8Array[] = [];
  // A chunk: length, type, contents, checksum.
  for (let at = SIGNATURE.length; at + 8 <= bytes.length; at += 12 + view.getUint32(at)) {
    if (view.getUint32(at + 4) === 0x49444154) {
      chunks.push(bytes.subarray(at + 8, at + 8 + view.getUint32(at)));
    }
  }
  return chunks;
}

/** Bytes of all rows of all passes, each row with the byte that names its filter. */
function unpackedBytes({ width, height, bits, interlaced }: PngHeader): number {
  const sizes = (interlaced ? ADAM7 : ONE_PASS).map(([left, top, across, down]) => {
    const columns = Math.max(0, Math.ceil((width - left) / across));
    const rows = Math.max(0, Math.ceil((height - top) / down));
    return columns === 0 ? 0 : rows * (1 + Math.ceil((columns * bits) / 8));
  });
  return Math.max(
    1,
    sizes.reduce((sum, size) => sum + size, 0),
  );
}
