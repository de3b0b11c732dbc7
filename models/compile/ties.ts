/**
 * Numbers that are tied to each other by factors: sets of members whose ratios are known, some with a number given or with
 * the most that it may be. Ties can be tried and taken back, all that were made since a mark.
 */

/** Ratios that differ by less are the same. */
const SAME = 1e-9;

export class Ties {
  readonly #parent: number[] = [];
  /** Of a member to its parent: number(member) = ratio * number(parent). */
  readonly #ratio: number[] = [];
  readonly #size: number[] = [];
  /** Given number of a root. */
  readonly #given = new Map<number, number>();
  /** The most that a root's number may be. */
  readonly #most = new Map<number, number>();
  /** How to take back what was done, last first. */
  readonly #undo: (() => void)[] = [];

  /** Adds members and returns the first one's number. */
  add(count: number): number {
    const first = this.#parent.length;
    for (let i = first; i < first + count; i++) {
      this.#parent.push(i);
      this.#ratio.push(1);
      this.#size.push(1);
    }
    return first;
  }

  /** The root of a member's set, and the member's ratio to it. */
  find(member: number): { root: number; ratio: number } {
    let ratio = 1;
    let root = member;
    while (this.#parent[root] !== root) {
      ratio *= this.#ratio[root]!;
      root = this.#parent[root]!;
    }
    return { root, ratio };
  }

  /** The given number of a root. */
  given(root: number): number | undefined {
    return this.#given.get(root);
  }

  /** Gives a member its number; false when it has another one. */
  give(member: number, value: number): boolean {
    const { root, ratio } = this.find(member);
    const wanted = value / ratio;
    const known = this.#given.get(root);
    if (known !== undefined) return same(known, wanted);
    this.#given.set(root, wanted);
    this.#undo.push(() => this.#given.delete(root));
    return true;
  }

  /** The most that a root's number may be, where that is bounded. */
  most(root: number): number | undefined {
    return this.#most.get(root);
  }

  /** The roots whose numbers are bounded, and the most that each may be. */
  bounds(): [root: number, most: number][] {
    return [...this.#most].filter(([root]) => this.#parent[root] === root);
  }

  /** A member's number is `value` at most. */
  bound(member: number, value: number): void {
    const { root, ratio } = this.find(member);
    this.#bound(root, value / ratio);
  }

  #bound(root: number, value: number): void {
    const known = this.#most.get(root);
    if (known !== undefined && known <= value) return;
    this.#most.set(root, value);
    this.#undo.push(() => {
      if (known === undefined) this.#most.delete(root);
      else this.#most.set(root, known);
    });
  }

  /** Ties number(a) = ratio * number(b); false when that cannot be. */
  tie(a: number, b: number, ratio: number): boolean {
    const x = this.find(a);
    const y = this.find(b);
    // number(x.root) = across * number(y.root)
    const across = (ratio * y.ratio) / x.ratio;
    if (x.root === y.root) return same(across, 1);
    const givenX = this.#given.get(x.root);
    const givenY = this.#given.get(y.root);
    if (givenX !== undefined && givenY !== undefined) return same(givenX, across * givenY);
    const isSmaller = this.#size[x.root]! <= this.#size[y.root]!;
    const [child, parent] = isSmaller ? [x.root, y.root] : [y.root, x.root];
    const toParent = isSmaller ? across : 1 / across;
    this.#parent[child] = parent;
    this.#ratio[child] = toParent;
    this.#size[parent]! += this.#size[child]!;
    const given = this.#given.get(child);
    if (given !== undefined) this.#given.set(parent, given / toParent);
    this.#undo.push(() => {
      if (given !== undefined) this.#given.delete(parent);
      this.#size[parent]! -= this.#size[child]!;
      this.#parent[child] = child;
      this.#ratio[child] = 1;
    });
    const most = this.#most.get(child);
    if (most !== undefined) this.#bound(parent, most / toParent);
    return true;
  }

  /** Where {@link undo} goes back to. */
  mark(): number {
    return this.#undo.length;
  }

  undo(mark: number): void {
    while (this.#undo.length > mark) this.#undo.pop()!();
  }
}

function same(a: number, b: number): boolean {
  return Math.abs(a - b) <= SAME * Math.abs(b);
}
