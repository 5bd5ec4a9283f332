import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Service } from "../../src/api/client";
import { type EditEvent, EditEventSchema, EditJob_State as State, EditJobSchema } from "../../src/gen/retouch/v1/edit_pb";
import { Follower } from "../../src/watch/follower";
import type { FromWatcher } from "../../src/watch/messages";

/** A service whose jobs are scripts: how a watch of each goes, and what a list says of it. */
class Scripted {
  watches: { job: string; after: bigint }[] = [];
  open = 0;
  most = 0;
  states = new Map<string, State>();
  scripts = new Map<string, (after: bigint, stopped: Promise<void>) => AsyncGenerator<EditEvent>>();

  readonly service = {
    watchEditJob: ({ name, afterSequence }: { name: string; afterSequence: bigint }, { signal }: { signal: AbortSignal }) => this.watch(name, afterSequence, signal),
    listEditJobs: async () => ({ jobs: [...this.states].map(([name, state]) => create(EditJobSchema, { name, state, queue: { position: 1, length: 2 } })) }),
  } as unknown as Service;

  private async *watch(job: string, after: bigint, signal: AbortSignal): AsyncGenerator<EditEvent> {
    this.watches.push({ job, after });
    this.most = Math.max(this.most, ++this.open);
    const stopped = new Promise<void>((done) => signal.addEventListener("abort", () => done(), { once: true }));
    try {
      yield* this.scripts.get(job)!(after, stopped);
      if (signal.aborted) throw new ConnectError("stopped", Code.Canceled);
    } finally {
      this.open--;
    }
  }
}

const state = (job: string, sequence: bigint, it: State) => create(EditEventSchema, { job, sequence, event: { case: "state", value: { state: it } } });

let said: FromWatcher[];
beforeEach(() => {
  said = [];
  vi.useFakeTimers();
});
afterEach(() => void vi.useRealTimers());

test("ten jobs are followed over one watch, which goes to the one that runs", async () => {
  const scripted = new Scripted();
  const follower = new Follower((it) => said.push(it));
  const names = Array.from({ length: 10 }, (_, i) => `jobs/${i}`);
  for (const name of names) {
    scripted.states.set(name, State.QUEUED);
    scripted.scripts.set(name, async function* (_, stopped) {
      if (scripted.states.has(name)) {
        yield state(name, 1n, scripted.states.get(name)!);
        await stopped;
      } else yield state(name, 2n, State.SUCCEEDED);
    });
    follower.follow(name, 0n, scripted.service);
  }
  await vi.advanceTimersByTimeAsync(100);
  scripted.states.set("jobs/7", State.EDITING);
  await vi.advanceTimersByTimeAsync(2500);
  expect(scripted.watches.at(-1)!.job).toBe("jobs/7");
  expect(said.some((it) => it.kind === "place" && it.job === "jobs/3" && it.queue?.length === 2)).toBe(true);
  scripted.states.clear();
  await vi.advanceTimersByTimeAsync(60_000);
  const ended = said.filter((it) => it.kind === "event" && it.event.event.case === "state" && it.event.event.value.state === State.SUCCEEDED);
  expect(ended.length).toBe(10);
  expect(scripted.most).toBe(1);
});

test("a watch that breaks is taken up after the last event, and a server that is away is told once", async () => {
  const scripted = new Scripted();
  const follower = new Follower((it) => said.push(it));
  let tries = 0;
  scripted.scripts.set("jobs/a", async function* () {
    tries++;
    if (tries === 1) yield state("jobs/a", 4n, State.EDITING);
    if (tries < 4) throw new ConnectError("gone", Code.Unavailable);
    yield state("jobs/a", 5n, State.SUCCEEDED);
  });
  follower.follow("jobs/a", 0n, scripted.service);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(scripted.watches.map((it) => it.after)).toEqual([0n, 4n, 4n, 4n]);
  expect(said.filter((it) => it.kind === "away").map((it) => it.kind === "away" && it.away)).toEqual([true, false]);
});

test("a watch that is silent, as after a laptop's sleep, is begun anew", async () => {
  const scripted = new Scripted();
  const follower = new Follower((it) => said.push(it));
  scripted.scripts.set("jobs/a", async function* (after, stopped) {
    if (after === 0n) {
      yield state("jobs/a", 3n, State.LOCALIZING);
      await stopped;
    } else yield state("jobs/a", 4n, State.SUCCEEDED);
  });
  follower.follow("jobs/a", 0n, scripted.service);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(scripted.watches.map((it) => it.after)).toEqual([0n, 3n]);
});

test("a job that awaits its mask holds no watch until it is decided", async () => {
  const scripted = new Scripted();
  const follower = new Follower((it) => said.push(it));
  scripted.scripts.set("jobs/a", async function* (after) {
    if (after === 0n) yield state("jobs/a", 6n, State.AWAITING_MASK);
    else yield state("jobs/a", 7n, State.SUCCEEDED);
  });
  scripted.states.set("jobs/a", State.AWAITING_MASK);
  follower.follow("jobs/a", 0n, scripted.service);
  await vi.advanceTimersByTimeAsync(30_000);
  expect([scripted.watches.length, scripted.open]).toEqual([1, 0]);
  follower.follow("jobs/a", 6n, scripted.service);
  await vi.advanceTimersByTimeAsync(1000);
  expect(scripted.watches.map((it) => it.after)).toEqual([0n, 6n]);
});

test("a refusal is told, and nothing is tried again", async () => {
  const scripted = new Scripted();
  const follower = new Follower((it) => said.push(it));
  scripted.scripts.set("jobs/a", async function* () {
    yield* [];
    throw new ConnectError("there is no such job", Code.NotFound);
  });
  follower.follow("jobs/a", 0n, scripted.service);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(said).toMatchObject([{ kind: "lost", problem: { message: "There is no such job." } }]);
});
