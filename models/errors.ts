/** What went wrong, as a stable code. Each names the one thing that has to be mended, and by that whose mistake it is. */
export type ModelErrorCode =
  /** The call: an argument or option is out of its range, names what there is not, or asks for what cannot be met. The caller's. */
  | 'argument'
  /** A file: its bytes are damaged, cut short, or not of a format that is read here. Of whoever wrote or copied it. */
  | 'file'
  /** The network: a node contradicts what is around it, or has no counterpart here; the message names it and what would be right. Of whoever designed or exported it. */
  | 'network'
  /** Samples or labels: they do not fit the network or each other, or are too few. Of whoever collected them. */
  | 'data'
  /** The network's numbers: they are beyond what fixed point holds, or too coarse in it. Of its training, or of the options for bits. */
  | 'fixed-point'
  /** Training: the loss is no number any more. Of its learning rate and limits. */
  | 'diverged'
  /** A checkpoint: it is none, or of another run. Of whoever chose its folder. */
  | 'checkpoint';

/** A network, file or call cannot be what it should be; the message is one sentence that says what is wrong and what would be right. */
export class ModelError extends RangeError {
  override readonly name = 'ModelError';
  readonly code: ModelErrorCode;

  constructor(code: ModelErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Whether an error is a {@link ModelError}, of whichever copy of this package or thread of a pool. */
export function isModelError(error: unknown): error is ModelError {
  return error instanceof Error && error.name === 'ModelError';
}
