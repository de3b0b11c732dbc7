/** Reading trained networks from other tools: safetensors. Bounds-checked, no generated code, nothing executed. */

export { readSafetensors } from './safetensors.ts';
