/**
 * Reading trained networks from other tools: ONNX models and safetensors files.
 *
 * - Files are hostile: every length is checked before it is used, nothing is allocated that the file does not justify,
 *   no code is generated or run. Whatever is wrong is a ModelError of one sentence.
 * - A model that reads is a sound graph (see graph/); one that does not says which nodes are in the way and what to do.
 */

export { type Check, checkOnnx, formatCheck, type GraphSummary } from './check.ts';
export { type Constant, decodeTensor, type ExternalData } from './constant.ts';
export { folderOf, readOnnxFile, tryOnnxFile } from './file.ts';
export { readTensor } from './proto.ts';
export {
  type OnnxOptions,
  type OnnxReading,
  type Refusal,
  readOnnx,
  tryOnnx,
} from './reader.ts';
export { readSafetensors } from './safetensors.ts';
