/**
 * Linear layers: how both parties come to shares of W r for the server's weights W and the mask r that the client has put
 * on a layer's input, before any input exists (hint/), and the server's pass on integers once it does (online.ts).
 */

export { type WeightBound, weightNorms } from './bound.ts';
export * from './hint/index.ts';
