/** A stage of training that survives interruptions: it goes on from its checkpoint file, and leaves one after each epoch. */

import { existsSync } from 'node:fs';
import { readWholeSync, replaceFile } from '../../protocol/files.ts';
import { loadCheckpoint, saveCheckpoint } from './checkpoint.ts';
import type { LabelledImages } from './data/images.ts';
import { type EpochStats, type TrainOptions, train } from './loop.ts';
import type { Network } from './network.ts';

/** What a stage is beside its training. */
export interface StageOptions extends Omit<TrainOptions, 'done' | 'onEpoch'> {
  /** The checkpoint's file. */
  readonly checkpoint: string;
  /** What the method remembers beside the optimiser, to be kept in the checkpoint. */
  readonly extra?: () => Readonly<Record<string, Float32Array>>;
  /** Gets back what `extra` gave when a stage goes on. */
  readonly resume?: (extra: Readonly<Record<string, Float32Array>>, epochsDone: number) => void;
  /** After every epoch, before its checkpoint is written; 'stop' ends the stage there. */
  readonly onEpoch?: (epochsDone: number, stats: EpochStats) => unknown;
}

/** Marks in a checkpoint that its stage ended before its last epoch. */
const ENDED = 'stage.ended';

/**
 * Runs a stage to its end, from its checkpoint when there is one.
 * @throws what {@link train} throws; the last checkpoint stays
 * @throws ModelError `checkpoint` when the checkpoint belongs to another network.
 */
export async function trainStage(
  network: Network,
  set: LabelledImages,
  options: StageOptions,
): Promise<void> {
  const { checkpoint, optimiser, extra, resume, onEpoch, ...rest } = options;
  let done = 0;
  if (existsSync(checkpoint)) {
    const { epochs, extra: kept } = loadCheckpoint(readWholeSync(checkpoint), network, optimiser);
    resume?.(kept, epochs);
    if (kept[ENDED] !== undefined) return;
    done = epochs;
  }
  await train(network, set, {
    ...rest,
    optimiser,
    done,
    async onEpoch(epochs, stats) {
      const verdict = await onEpoch?.(epochs, stats);
      const ended = verdict === 'stop' ? { [ENDED]: Float32Array.of(1) } : {};
      const state = saveCheckpoint(network, optimiser, epochs, { ...extra?.(), ...ended });
      await replaceFile(checkpoint, state);
      return verdict;
    },
  });
}
