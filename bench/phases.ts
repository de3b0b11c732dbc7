/** The phases of an inference and its parties, as results have them. */

export const PHASES = ['offline', 'online'] as const;
export type Phase = (typeof PHASES)[number];
export type PerPhase<T> = Readonly<Record<Phase, T>>;

/** The same for both phases. */
export const byPhase = <T>(of: (phase: Phase) => T): PerPhase<T> => ({
  offline: of('offline'),
  online: of('online'),
});

export interface PerParty<T> {
  readonly client: T;
  readonly server: T;
}

/** Of one inference and phase, by the formulas, to which every run is held. */
export interface PhaseTraffic {
  readonly upBytes: number;
  readonly downBytes: number;
  readonly roundTrips: number;
}
