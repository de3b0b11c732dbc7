/**
 * A layer's constants are the server's alone. It adds them to its share, so that what hides its share hides them: what the
 * client observes of its lanes says nothing of them, unless something that hides is lost.
 */

import { describe, expect, it } from 'vitest';
import { addConstants } from '../../../protocol/gadgets/index.ts';
import {
  type ActivationKind,
  IDENTITY,
  KINDS,
  kindOf,
  RELU,
  SQUARE,
} from '../../../protocol/program/kinds.ts';
import { COMPARISONS } from '../../../protocol/program/program.ts';
import { DEVIATION_LIMIT, deviations } from '../../support/statistics.ts';
import { testSeed } from './lane.ts';
import { caseOf, type Played, play, sourcesOf, type Tampering, titleOf } from './lanes.ts';
import { SECRETS } from './secrets.ts';

/** Elements, of two channels. */
const N = 1024;
const PLANE = N / 2;

/**
 * A lane in which the client knows everything but the constants: all of its shares are the same, and x is 0. The constants
 * of the two channels have opposite signs, and its share is such that the server's has the sign of the constant.
 */
function playConstants(
  own: ReturnType<typeof caseOf>,
  seed: number,
  tampering: Tampering = {},
): Played {
  const { kind, params } = own;
  const { rangeBits, shift } = params;
  const width = kindOf(kind).ringBits(rangeBits, shift);
  const c = new Int32Array(N).fill(kind === RELU ? 0 : 2 ** (width - 2));
  const a = c.map((share) => -share);
  const elements = Uint32Array.from({ length: N }, (_, i) => i);
  const before = Int32Array.of(
    0x0a5a5a5 % 2 ** (rangeBits - 2),
    -(0x0a5a5a5 % 2 ** (rangeBits - 2)),
  );
  addConstants({ elements }, a, before, PLANE);
  return play(own, a, c, sourcesOf(own, N, testSeed(seed), 0), tampering);
}

/** Secrets that keep the constants from the client, but for those that a bit of its observations gives them away by. */
function tells(own: ReturnType<typeof caseOf>, run: Played): string[] {
  const { kind, params } = own;
  return SECRETS[params.comparison][kind].flatMap((secret) => {
    if (secret.hiddenFrom !== 'client') return [];
    const seen = secret.observe(run.client);
    const told = Array.from({ length: secret.bits(params) }, (_, bit) => {
      let agree = 0;
      for (let i = 0; i < N; i++) agree += ((seen[i]! >>> bit) & 1) ^ (i < PLANE ? 0 : 1);
      return deviations(agree, N) >= DEVIATION_LIMIT;
    });
    return told.includes(true) ? [secret.name] : [];
  });
}

/** The server's state with a field that is all zeros: nothing is hidden by it. */
const without = (field: string): Tampering => ({
  server: (state) => ({ ...state, [field]: state[field]!.slice().fill(0) }),
});

describe('constants', () => {
  for (const comparison of COMPARISONS) {
    for (const kind of KINDS) {
      const own = caseOf(kind, comparison);

      it(`${titleOf(own)} beside ${comparison} comparisons: the client's observations say nothing of them`, () => {
        expect(SECRETS[comparison][kind].some(({ hiddenFrom }) => hiddenFrom === 'client')).toBe(
          true,
        );
        expect(tells(own, playConstants(own, 230))).toEqual([]);
      });
    }
  }

  it.each<[ActivationKind, string, string[]]>([
    [RELU, 'pi', ['pi']],
    [RELU, 'mu', ['mu']],
    [SQUARE, 'u', ['u']],
    [SQUARE, 'm', ['m']],
    [IDENTITY, 'u', ['u']],
  ])('of kind %i leak where %s is lost, and the test says by what', (kind, field, names) => {
    const own = caseOf(kind, 'encoded');
    expect(tells(own, playConstants(own, 231, without(field)))).toEqual(names);
  });

  it("are added by kind and channel: every element gets its channel's", () => {
    const values = Int32Array.of(1, 2, 3, 4);
    addConstants({ elements: Uint32Array.of(0, 3, 4, 7) }, values, Int32Array.of(10, 20), 4);
    expect([...values]).toEqual([11, 12, 23, 24]);
    addConstants({ elements: Uint32Array.of(0, 1, 2, 3) }, values, undefined, 4);
    expect([...values]).toEqual([11, 12, 23, 24]);
  });
});
