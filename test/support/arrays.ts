/** NumPy's files, as numpy.save writes them. */

/**
 * A `.npy` file.
 * @param type NumPy's code, such as |u1 or <f4
 * @param order 'True' for Fortran's order
 */
export function npy(
  shape: readonly number[],
  data: Uint8Array | Float32Array | Float64Array | Int16Array | BigInt64Array,
  type: string,
  order = 'False',
): Uint8Array {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${type}', 'fortran_order': ${order}, 'shape': (${sizes}), }`;
  const header = `${text.padEnd(117)}\n`;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const head = Uint8Array.of(0x93, ...Buffer.from('NUMPY'), 1, 0, header.length, 0);
  return Buffer.concat([head, Buffer.from(header), bytes]);
}
