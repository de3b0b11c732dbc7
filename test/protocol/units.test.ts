/** Sizes, rates and times as people write them. */

import { describe, expect, it } from 'vitest';
import {
  bitsPerSecondOf,
  bytesOf,
  bytesPer,
  countPer,
  millisecondsOf,
  perSecondOf,
} from '../../protocol/units.ts';

describe('units of commands', () => {
  it.each<[string, number]>([
    ['1', 1],
    ['100 B', 100],
    ['64k', 64e3],
    ['64kB', 64e3],
    ['8MB', 8e6],
    ['8mb', 8e6],
    ['8 MiB', 8 * 2 ** 20],
    ['1.5G', 1.5e9],
    ['2TiB', 2 ** 41],
    ['1Ki', 1024],
  ])('%s are bytes', (text, bytes) => {
    expect(bytesOf(text)).toBe(bytes);
  });

  it.each<[string, number]>([
    ['100Mbps', 100e6],
    ['20mbit', 20e6],
    ['100Mbit/s', 100e6],
    ['0.5 gbit', 0.5e9],
    ['800kbits/s', 800e3],
    ['56000bps', 56_000],
    ['10Mb/s', 10e6],
    ['12.5MB/s', 100e6],
    ['1MiB/s', 8 * 2 ** 20],
    ['1MBps', 8e6],
  ])('%s is a rate in bits a second', (text, bits) => {
    expect(bitsPerSecondOf(text)).toBe(bits);
  });

  it('a time without a unit is in that of its option, with one in that', () => {
    expect(millisecondsOf('40', 'ms')).toBe(40);
    expect(millisecondsOf('40', 's')).toBe(40_000);
    expect(millisecondsOf('5', 'min')).toBe(300_000);
    for (const bare of ['ms', 's', 'min'] as const) {
      expect(millisecondsOf('0.5ms', bare)).toBe(0.5);
      expect(millisecondsOf('2s', bare)).toBe(2000);
      expect(millisecondsOf('2 sec', bare)).toBe(2000);
      expect(millisecondsOf('5min', bare)).toBe(300_000);
      expect(millisecondsOf('1h', bare)).toBe(3_600_000);
      expect(millisecondsOf('2 hours', bare)).toBe(7_200_000);
      expect(millisecondsOf('1 day', bare)).toBe(86_400_000);
    }
  });

  it('counts go by a time, and quotas by theirs alone', () => {
    expect([perSecondOf('5/s'), perSecondOf('600/min'), perSecondOf('36 / hour')]).toEqual([
      5, 10, 0.01,
    ]);
    expect([countPer('day')('1000/day'), countPer('day')('7/d')]).toEqual([1000, 7]);
    expect(countPer('hour')('60/h')).toBe(60);
    expect([bytesPer('day')('10GB/day'), bytesPer('day')('1 MiB/day')]).toEqual([1e10, 2 ** 20]);
  });

  const read: [string, (text: string) => number, string[]][] = [
    ['size', bytesOf, ['8mbit', '-1', '0', '1e3', '0x8', '8 M B', '9e99', '99999999TB', '8,5MB']],
    ['rate', bitsPerSecondOf, ['100', '100M', '0mbit', '-1mbit', '100mbit/min', '1MiBit', 'fast']],
    ['time', (text) => millisecondsOf(text, 's'), ['2m', '-2s', '1:30', 's', '2 weeks', '1e3']],
    ['rate', perSecondOf, ['5', '0/s', '/s', '5/week', '5s', '5/ms', '1e3/s']],
    ['whole number', countPer('day'), ['1000', '60/hour', '0/day', '1.5/day', '1k/day']],
    ['size', bytesPer('day'), ['10GB', '10GB/hour', 'GB/day', '0MB/day']],
  ];
  for (const [what, parse, texts] of read) {
    it.each(['', ' ', ...texts])(`"%s" is no ${what}, which is one sentence`, (text) => {
      const sentence = new RegExp(`^It must be a ${what}[^.]*(\\d\\.\\d[^.]*)*\\.$`);
      expect(() => parse(text)).toThrow(RangeError);
      expect(() => parse(text)).toThrow(sentence);
    });
  }
});
