/** Whose task is next: fair between runners. */

/** Waiting tasks of several owners, who take turns. */
export class Turns<Job extends { readonly owner: object }> {
  /** The owners that wait, the next one first, and their jobs in order of arrival. */
  readonly #owners = new Map<object, Set<Job>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(job: Job): void {
    const jobs = this.#owners.get(job.owner);
    if (jobs === undefined) this.#owners.set(job.owner, new Set([job]));
    else jobs.add(job);
    this.#size++;
  }

  /** Does nothing when it does not wait. */
  delete(job: Job): void {
    const jobs = this.#owners.get(job.owner);
    if (!jobs?.delete(job)) return;
    if (jobs.size === 0) this.#owners.delete(job.owner);
    this.#size--;
  }

  /** Takes out the next one; undefined when none waits. */
  take(): Job | undefined {
    for (const [owner, jobs] of this.#owners) {
      this.#owners.delete(owner);
      if (jobs.size > 1) this.#owners.set(owner, jobs);
      for (const job of jobs) {
        jobs.delete(job);
        this.#size--;
        return job;
      }
    }
    return undefined;
  }
}
