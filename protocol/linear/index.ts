/** Linear layers: the backend that this release has. The contract is in backend.ts, the pass on integers in online.ts. */

import type { LinearBackend } from './backend.ts';
import { rlwe } from './rlwe/backend.ts';

export type { EncryptionReport, LinearPlan, Part } from './backend.ts';
export { bytesOfParts, weightNorms } from './backend.ts';

/** Both parties have the same. Its plans, keys and messages are opaque from here on. AGREEMENT. */
export const linear: LinearBackend = rlwe;
