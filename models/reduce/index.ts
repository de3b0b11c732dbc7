/**
 * ReLU reduction: a trained network brought to a budget. Node only.
 *
 * - {@link reduce} by one of {@link METHODS}, to a count of ReLUs; {@link reduceWithin} to bytes or milliseconds. What a
 *   method makes is a graph like any other, with its map and polynomials. Layers that lost elements before stay as they are, so
 *   that coarse methods go first and fine ones after them.
 * - An {@link OwnMethod} is a method that somebody brings; {@link loadMethod} loads one from a module.
 * - Methods train in stages that go on from checkpoints (training.ts). The same seed gives the same network, however often
 *   it was stopped and however many threads there are.
 * - {@link assess} looks at a network with squares before it is compiled; {@link refuseUnstable} names the layer that would
 *   not hold.
 * - {@link auditGroups} and {@link disparity} say whom the removal cost what; {@link mitigate} tunes against it.
 */

export type { NamedLink } from '../../protocol/inference/links.ts';
export { best, METHODS, type Method, type ReduceOptions, reduce } from './auto.ts';
export { type AutoRepOptions, autoRep } from './autorep.ts';
export { type Budget, type CostBudget, readBudget } from './budget.ts';
export { type ChannelOptions, removeByChannels } from './channels.ts';
export type { Line } from './chart.ts';
export { type PricedPoint, Pricing, type PricingOptions, spent } from './cost.ts';
export { holdOut, readLabelled } from './data.ts';
export {
  applyRecipe,
  cull,
  type DeepReduceOptions,
  deepReduce,
  measureOrder,
  type Recipe,
  recipeName,
  recipeRelus,
  recipesOf,
  type TrainedPoint,
  thin,
} from './deepreduce.ts';
export {
  checkBudget,
  keepLargest,
  randomScores,
  reluCount,
  removeRelus,
  type Scores,
} from './elements.ts';
export { type MitigationOptions, mitigate } from './fairness.ts';
export { frontier, type InferenceCost, type Point } from './frontier.ts';
export {
  auditGroups,
  disparity,
  type Grouping,
  type GroupResult,
  type GroupTable,
  groupsOfLabels,
  groupTable,
  imbalance,
  majorityAndMinority,
  readGroups,
} from './groups.ts';
export { type Harm, type MapOptions, measureHarm, replaceRelus } from './harm.ts';
export { equalise } from './hybrenet.ts';
export { loadMethod, type OwnMethod } from './own.ts';
export {
  type ChannelMoments,
  CURVATURE,
  clampCurvature,
  lineOfRelu,
  parabolaOfRelu,
  startingPolynomials,
} from './parabola.ts';
export type { PressureRule } from './pressure.ts';
export { PUBLISHED_CIFAR10 } from './published.ts';
export { type LayerRange, type MeasureOptions, measureRanges, rangeLimits } from './ranges.ts';
export { type Reshape, reshape } from './reshape.ts';
export { type SnlOptions, snl } from './snl.ts';
export {
  assess,
  formatStability,
  type LayerStability,
  refuseUnstable,
  type Stability,
  warningsOf,
} from './stability.ts';
export { type Stage, stagesOf } from './stages.ts';
export {
  accuracy,
  fineTune,
  type StageEpoch,
  type Training,
  type Tuning,
  type TuningStage,
} from './training.ts';
export { reduceWithin } from './within.ts';
