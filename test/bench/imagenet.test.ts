import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { IMAGENET_SUBJECTS } from '../../bench/imagenet.ts';
import { imageNetSection } from '../../bench/report.ts';
import { compactResNet } from '../../models/networks/index.ts';

/** The build, where the parties' processes and their threads have their modules. */
const built = new URL('../../dist/bench/imagenet.js', import.meta.url);

describe('the benchmark of networks of ImageNet’s size', () => {
  it('takes three networks, each with all ReLUs and with a twentieth', () => {
    expect(IMAGENET_SUBJECTS.map(({ name }) => name)).toEqual([
      'SqueezeNet 227, all ReLUs',
      'SqueezeNet 227, 5 % of the ReLUs',
      'MobileNetV2 224, all ReLUs',
      'MobileNetV2 224, 5 % of the ReLUs',
      'ResNet-50 224, all ReLUs',
      'ResNet-50 224, 5 % of the ReLUs',
    ]);
  });

  it.skipIf(!existsSync(built))(
    'measures both parties, beside peers',
    { timeout: 60_000 },
    async () => {
      const { benchImageNet } = (await import(
        built.href
      )) as typeof import('../../bench/imagenet.ts');
      const tiny = { name: 'tiny', make: () => compactResNet([4], { kernel: 3, stride: 2 }) };
      const heard: string[] = [];
      const results = await benchImageNet([tiny], 1, (line) => heard.push(line));
      expect(heard.at(-1)).toBe('tiny: inference 1 of 1');
      const [result] = results;
      expect(result).toMatchObject({
        name: 'tiny',
        comparisons: 3 * 4 * 16 * 16,
        differs: undefined,
      });
      const { hintMs, connect, offline, online, peak, cost, hintBytes } = result!;
      for (const value of [hintMs, connect.coldMs, connect.warmMs, offline.median, online.median]) {
        expect(value).toBeGreaterThan(0);
      }
      expect(hintBytes).toBeGreaterThan(0);
      expect(cost.online.rounds).toBe(4);
      // Node alone takes some tens of megabytes; the compiler's process, here the tests', takes more than a party.
      for (const bytes of [peak.client, peak.server]) {
        expect(bytes).toBeGreaterThan(30e6);
        expect(bytes).toBeLessThan(600e6);
      }
      const page = imageNetSection(results);
      for (const text of ['| tiny', 'Every answer was', 'OpenCheetah', '85.6', '287', 'SecONNds']) {
        expect(page).toContain(text);
      }
      const [wrong] = results.map((own) => ({ ...own, differs: 'a private logit is off' }));
      expect(imageNetSection([wrong!])).toContain('**tiny: a private logit is off.**');
    },
  );
});
