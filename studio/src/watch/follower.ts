// Follows many jobs over one watch.
//
// A browser holds six connections to a server over HTTP/1.1, so ten jobs cannot have a watch each. Control events are
// replayed by number; only previews of jobs that are not watched are missed. The watch therefore goes to the job that
// runs, and a list of the live jobs, asked for every now and then, says which one that is and where the others wait.
import { EditJob_State as State } from "../gen/retouch/v1/edit_pb";
import type { Service } from "../api/client";
import { problemOf } from "../api/problem";
import type { FromWatcher } from "./messages";

interface Followed {
  after: bigint;
  service: Service;
  state: State;
}

/** Pause between two lists of the live jobs. */
const LIST_MS = 1200;
/** The same while all of them await a mask. */
const IDLE_LIST_MS = 5000;
/** The service says something every 15 s; a watch that is silent for longer is dead, as after a laptop's sleep. */
const SILENCE_MS = 40_000;
const LONGEST_PAUSE_MS = 5000;

const RUNNING = [State.LOCALIZING, State.EDITING];
const LIVE = [State.QUEUED, State.LOCALIZING, State.AWAITING_MASK, State.MASK_READY, State.EDITING];

const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

export class Follower {
  private readonly jobs = new Map<string, Followed>();
  private watched: { job: string; stop: AbortController } | undefined;
  private isRunning = false;
  private isListing = false;
  private isAway = false;

  constructor(private readonly tell: (message: FromWatcher) => void) {}

  /** Follows a job from the event after number `after`; from the lower number if it is followed already. */
  follow(job: string, after: bigint, service: Service): void {
    const known = this.jobs.get(job);
    const from = known && known.after < after ? known.after : after;
    this.jobs.set(job, { after: from, service, state: known?.state === State.AWAITING_MASK ? State.MASK_READY : (known?.state ?? State.QUEUED) });
    if (this.watched?.job === job) this.watched.stop.abort();
    void this.run();
    void this.list();
  }

  /** The job to watch: one that runs or has ended unseen, else the one that was followed first; none that awaits a mask. */
  private next(): string | undefined {
    const open = [...this.jobs].filter(([, it]) => it.state !== State.AWAITING_MASK);
    const ended = open.find(([, it]) => !LIVE.includes(it.state));
    const running = open.find(([, it]) => RUNNING.includes(it.state));
    return (ended ?? running ?? open[0])?.[0];
  }

  private async run(): Promise<void> {
    if (this.isRunning) return;
    this.isRunning = true;
    let wait = 250;
    for (let job = this.next(); job !== undefined; job = this.next()) {
      const stop = new AbortController();
      this.watched = { job, stop };
      const heard = await this.watch(job, stop);
      this.watched = undefined;
      if (heard) wait = 250;
      else {
        await pause(wait);
        wait = Math.min(wait * 2, LONGEST_PAUSE_MS);
      }
    }
    this.isRunning = false;
  }

  /** Watches a job until it ends, awaits its mask, or another one is to be watched; returns whether anything was heard. */
  private async watch(job: string, stop: AbortController): Promise<boolean> {
    const followed = this.jobs.get(job);
    if (!followed) return true;
    let silence: ReturnType<typeof setTimeout> | undefined;
    const listen = () => {
      clearTimeout(silence);
      silence = setTimeout(() => stop.abort(), SILENCE_MS);
    };
    listen();
    try {
      const events = followed.service.watchEditJob({ name: job, afterSequence: followed.after }, { signal: stop.signal });
      for await (const event of events) {
        listen();
        this.say(false);
        if (event.sequence > followed.after) followed.after = event.sequence;
        if (event.event.case === "state") followed.state = event.event.value.state;
        if (event.event.case !== "heartbeat") this.tell({ kind: "event", event });
        if (followed.state === State.AWAITING_MASK && event.event.case === "state") stop.abort();
      }
      if (!stop.signal.aborted) this.jobs.delete(job);
      return true;
    } catch (error) {
      if (stop.signal.aborted) return true;
      const problem = problemOf(error);
      if (problem.kind === "away" || problem.kind === "busy") {
        this.say(true);
        return false;
      }
      // The status of a job that failed is the watch's own; its events have told of it.
      const isOver = !LIVE.includes(followed.state);
      this.jobs.delete(job);
      if (!isOver) this.tell({ kind: "lost", job, problem });
      return true;
    } finally {
      clearTimeout(silence);
    }
  }

  /** Lists the live jobs while more is followed than is watched. */
  private async list(): Promise<void> {
    if (this.isListing) return;
    this.isListing = true;
    for (;;) {
      await pause(this.watched ? LIST_MS : IDLE_LIST_MS);
      const others = [...this.jobs].filter(([job]) => job !== this.watched?.job);
      if (this.jobs.size === 0) break;
      for (const service of new Set(others.map(([, it]) => it.service))) {
        try {
          const { jobs } = await service.listEditJobs({ states: LIVE, pageSize: 200 });
          const live = new Map(jobs.map((it) => [it.name, it]));
          for (const [name, followed] of others.filter(([, it]) => it.service === service)) {
            const job = live.get(name);
            followed.state = job?.state ?? State.SUCCEEDED;
            if (job) this.tell({ kind: "place", job: name, state: job.state, queue: job.queue });
          }
        } catch {
          // The watch tells of a server that is away.
        }
      }
      this.turn();
    }
    this.isListing = false;
  }

  /** Leaves a watched job that only waits for one that runs. */
  private turn(): void {
    const next = this.next();
    void this.run();
    if (!this.watched || next === undefined || next === this.watched.job) return;
    const waits = (job: string) => [State.QUEUED, State.MASK_READY].includes(this.jobs.get(job)?.state ?? State.UNSPECIFIED);
    if (waits(this.watched.job) && !waits(next)) this.watched.stop.abort();
  }

  private say(away: boolean): void {
    if (away !== this.isAway) this.tell({ kind: "away", away });
    this.isAway = away;
  }
}
