/** The plaintext baseline: the same network in onnxruntime-web, one thread of WebAssembly SIMD. */

import { elements, type Graph } from '../models/graph/index.ts';

export interface PlainNetwork {
  /** @param image - preprocessed, [C, H, W]; returns the graph's output */
  run(image: Float32Array): Promise<Float32Array>;
  close(): Promise<void>;
}

/**
 * Loads the network.
 * @throws Error when onnxruntime-web or onnx-proto, which only developers install, cannot be loaded
 */
export async function openPlain(graph: Graph): Promise<PlainNetwork> {
  const { exportOnnx } = await import('../models/onnx/write.ts');
  const { env, InferenceSession, Tensor } = await import('onnxruntime-web');
  env.wasm.numThreads = 1;
  const session = await InferenceSession.create(exportOnnx(graph), {
    executionProviders: ['wasm'],
    graphOptimizationLevel: 'all',
  });
  const { id, shape } = graph.input;
  return {
    async run(image) {
      if (image.length !== elements(shape)) {
        throw new RangeError(`an image of [${shape}] has no ${image.length} numbers`);
      }
      const outputs = await session.run({ [id]: new Tensor('float32', image, [1, ...shape]) });
      return outputs[graph.output]!.data as Float32Array;
    },
    close: () => session.release(),
  };
}
