/**
 * What the address says after its #: a model and an example, so that a link shows the same again. The server's address stands
 * before the #, and stays. A picture of the visitor's is in no link, since links are sent to others; what was answered is not
 * either, since it is of that run: who opens the link runs it again.
 */

/** A model's name and an example's file name without its ending; each may be missing. */
export interface LinkedExample {
  readonly model?: string | undefined;
  readonly sample?: string | undefined;
}

export function readView(hash: string): LinkedExample {
  const parts = new URLSearchParams(hash.replace(/^#/, ''));
  return { model: parts.get('model') ?? undefined, sample: parts.get('sample') ?? undefined };
}

/** @returns the address's part from its # on */
export function viewHash({ model, sample }: LinkedExample): string {
  const parts = new URLSearchParams();
  if (model !== undefined) parts.set('model', model);
  if (sample !== undefined) parts.set('sample', sample);
  return `#${parts}`;
}
