// The protocol's worker on a platform without shared memory.
delete globalThis.SharedArrayBuffer;
const { run: work } = await import('../../dist/protocol/inference/worker.js');
export const run = (request) => work(request);
