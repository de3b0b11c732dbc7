/**
 * What a network may cost, as `--budget` says it.
 *
 *   12900    ReLU elements of activation layers, whatever the others become
 *   8MB      bytes of one inference, offline and online, both directions: what `sotto plan` calls every further one. The hint,
 *            which a client fetches once and keeps, and what a session begins with are not in it. OTs are made as for the
 *            link that is named, or as where nothing is known of the link.
 *   400ms    what `sotto plan` predicts for the online phase over a named link, for parties with the cores of this machine
 */

import type { NamedLink } from '../../protocol/inference/links.ts';
import { bytesOf, millisecondsOf } from '../../protocol/units.ts';
import { ModelError } from '../errors.ts';

export type Budget = { readonly unit: 'ReLUs'; readonly most: number } | CostBudget;

/** A budget of what users of a model pay. */
export type CostBudget =
  | { readonly unit: 'bytes'; readonly most: number; readonly link?: NamedLink | undefined }
  | { readonly unit: 'ms'; readonly most: number; readonly link: NamedLink };

/**
 * Reads a budget.
 * @param link the one that is named beside it
 * @throws ModelError `argument` in one sentence when it is none, or a time is not said to be that of a link
 */
export function readBudget(text: string, link?: NamedLink): Budget {
  const trimmed = text.trim();
  if (/^[\d.]+$/.test(trimmed)) return { unit: 'ReLUs', most: Number(trimmed) };
  try {
    if (/b$/i.test(trimmed)) return { unit: 'bytes', most: bytesOf(trimmed), link };
    const most = millisecondsOf(trimmed, 'ms');
    if (link !== undefined) return { unit: 'ms', most, link };
  } catch (cause) {
    throw new ModelError(
      'argument',
      `--budget should be a number of ReLUs, a size such as 8MB or a time such as 400ms, not ${text}`,
      { cause },
    );
  }
  throw new ModelError(
    'argument',
    `a budget of ${trimmed} needs --link: how long the online phase takes`,
  );
}

/** A budget in a sentence. */
export function formatBudget(budget: Budget): string {
  if (budget.unit === 'bytes') return formatBytes(budget.most);
  return budget.unit === 'ms'
    ? `${budget.most} ms over ${budget.link.name}`
    : `${budget.most} ReLUs`;
}

/** Bytes in megabytes, to three digits behind the point. */
export function formatBytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(3)} MB`;
}
