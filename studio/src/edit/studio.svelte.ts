// The page's state, and what one can do: find, edit, compare, make variants, go back.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  Action,
  type EditJob,
  EditJob_State as State,
  EditSpecSchema,
  MaskPolicy,
  type MaskSchema,
  Method,
  Preserve,
  type ServerInfo,
} from "../gen/retouch/v1/edit_pb";
import { download } from "../api/artifacts";
import { baseUrl, service } from "../api/client";
import { problemOf, type Problem } from "../api/problem";
import { maskFile, decode } from "../ui/pixels";
import type { FromWatcher } from "../watch/messages";
import { watch } from "../watch/watch";
import { Draft } from "./draft.svelte";
import { Job } from "./job.svelte";
import { NoPicture, open, type Picture } from "./picture";
import { again, label, newId, type Spec } from "./spec";

/** Largest picture that is sent where the server has not said what it takes. */
const LIMIT = 32 << 20;
/** Room in a message beside its picture. */
const ROOM = 64 << 10;
/** The label by which the studio knows its own edits. */
const LABEL = "studio";
/** Edits of the strip. */
const STRIP = 24;
/** Size of results that are fetched before they are asked for, in bytes. */
const LIGHT = 2n << 20n;
/** The accent, for masks. */
export const ACCENT: [number, number, number] = [0xd5, 0x5e, 0x00];

/** A call that was given up, or refused. */
class Stopped extends Error {}

export class Studio {
  /** In memory alone. */
  key = $state("");
  keyWanted = $state<Problem>();
  info = $state.raw<ServerInfo>();
  /** The watch has no answer. */
  away = $state(false);
  /** Why a call waits. */
  trouble = $state.raw<Problem>();
  /** What was refused, until it is put away. */
  notice = $state("");
  picture = $state.raw<Picture>();
  instruction = $state("");
  object = $state("");
  action = $state(Action.UNSPECIFIED);
  seed = $state<bigint>();
  job = $state<Job>();
  draft = $state.raw<Draft>();
  /** The edits, newest first. */
  jobs = $state<Job[]>([]);
  /** The variants that are shown in a grid. */
  variants = $state<Job[]>([]);
  /** A call that makes a job is under way. */
  isSending = $state(false);

  readonly service = service(baseUrl(), () => this.key);
  private readonly known = new Map<string, Job>();
  private readonly watching = watch(this.service, () => this.key, (message) => this.hear(message));
  private readonly waiting = new Set<(go: boolean) => void>();

  /** Asks the server what it is, and for the edits that were made in the studio before. */
  async start(): Promise<void> {
    await this.told(async () => {
      this.info = await this.ask(() => this.service.getServerInfo({}));
      const { jobs } = await this.ask(() => this.service.listEditJobs({ labels: { [LABEL]: "edit" }, pageSize: STRIP }));
      this.jobs = jobs.map((it) => this.know(it));
      const isLight = (it: EditJob) => (it.result?.image?.sizeBytes ?? 0n) < LIGHT;
      for (const job of jobs.filter(isLight)) this.watching.follow(job.name, this.know(job).last);
    });
  }

  /** Takes a file as the picture to edit. */
  async take(file: Blob, name: string, instruction = ""): Promise<void> {
    this.notice = "";
    try {
      const limit = Number(this.info?.limits?.maxRequestBytes ?? LIMIT) - ROOM;
      this.show(await open(file, name, limit));
      this.instruction = instruction;
    } catch (error) {
      this.notice = error instanceof NoPicture ? error.message : `${name} can't be read.`;
    }
  }

  /** Puts the picture away. */
  leave(): void {
    this.picture = this.draft = this.job = undefined;
    this.variants = [];
    this.instruction = this.notice = "";
    this.reset();
  }

  /** Edits the result as a picture of its own. */
  further(job: Job): void {
    const result = job.result;
    if (!result || !this.picture) return;
    const { bytes, artifact, bitmap } = result;
    this.show({ name: this.picture.name, bytes, artifact, bitmap, exact: result.type === "image/png" });
    this.instruction = "";
  }

  /** Goes back to an edit: its picture, its words, its mask. */
  async back(job: Job): Promise<void> {
    await this.told(async () => {
      const artifact = job.spec?.image?.source;
      if (artifact?.case !== "artifact") return;
      if (this.picture?.artifact !== artifact.value) {
        const bytes = await this.ask(() => download(this.service, artifact.value));
        const name = job.spec?.labels["file"] ?? "picture.png";
        this.show({ name, bytes, artifact: artifact.value, bitmap: await decode(bytes), exact: bytes[0] === 0x89 });
      }
      this.variants = [];
      this.job = job;
      job.source = this.picture?.bitmap;
      if (job.last === 0n) this.watching.follow(job.name, 0n);
      this.instruction = job.spec?.instruction ?? "";
      this.object = job.spec?.object ?? "";
      this.action = job.parsed && !job.spec?.object ? Action.UNSPECIFIED : (job.spec?.action ?? Action.UNSPECIFIED);
      this.seed = job.spec?.seed;
      // One that awaits its mask is proposed anew; that of a later part is for what the part before it made.
      const bitmap = job.part?.bitmap ?? this.picture?.bitmap;
      if (!job.settled && bitmap) this.draft = new Draft(bitmap, ACCENT);
      if (job.found && job.spec) {
        const { tau = 0, refine = false, grow = 0 } = job.spec;
        if (job.settled) this.draft?.knows(job.found, tau, refine, grow);
        else this.draft?.propose(job.found, tau, refine, grow);
      }
      if (job.settled) this.draft?.keep(job.settled.mask, job.settled.artifact);
    });
  }

  /** Pass 1: finds the mask, which then awaits its decision. */
  async find(): Promise<void> {
    await this.make({ maskPolicy: MaskPolicy.REVIEW, reviewTimeout: { seconds: 3600n } });
  }

  /** Pass 2, in the mask as it is: by a decision on the job that awaits one, else by a job of its own. */
  async edit(): Promise<void> {
    const { draft, job } = this;
    if (!draft || draft.isEmpty) return;
    const mask = await this.mask(draft);
    const asked = job?.spec;
    const isSame = asked?.instruction === this.instruction && (this.object === "" || asked.object === this.object);
    if (job?.state === State.AWAITING_MASK && isSame && draft.origin !== "kept") {
      const isProposed = draft.origin === "found";
      const decision = isProposed
        ? { decision: { case: "accept" as const, value: { featherPx: draft.feather } } }
        : { decision: { case: "replace" as const, value: mask } };
      await this.told(async () => {
        await this.ask(() => this.service.submitMask({ name: job.name, decision: { ...decision, etag: job.found?.etag ?? "", requestId: newId() } }));
        job.state = State.MASK_READY;
        job.decided = { clusters: draft.origin === "clusters" ? draft.ids : [], feather: draft.feather };
        this.watching.follow(job.name, job.last);
      });
      return;
    }
    const by = !job?.hasParts && (draft.origin === "found" || draft.origin === "clusters") ? job?.found?.by : undefined;
    await this.make({ maskPolicy: MaskPolicy.PROVIDED, mask, reuseLocalizationOf: by ?? "" });
  }

  /** The same edit by plain InstructPix2Pix, which keeps nothing. */
  async comparePlain(job: Job): Promise<void> {
    const spec = job.spec;
    if (!spec || job.plain) return;
    await this.told(async () => {
      const { image, instruction, steps, seed } = spec;
      job.plain = await this.create({ image, instruction, steps, seed, method: Method.INSTRUCT_PIX2PIX, preserve: Preserve.NONE, labels: { [LABEL]: "plain" } });
    });
  }

  /** The edit again with other seeds, in one call. */
  async vary(job: Job, count: number): Promise<void> {
    const { spec, settled } = job;
    if (!spec || !settled) return;
    await this.told(async () => {
      const requests = Array.from({ length: count }, (_, i) => ({
        requestId: newId(),
        spec: {
          ...again(spec),
          seed: (spec.seed ?? 0n) + BigInt(i + 1),
          ...(job.hasParts
            ? { maskPolicy: MaskPolicy.AUTO, localizeSeed: spec.localizeSeed ?? spec.seed }
            : { maskPolicy: MaskPolicy.PROVIDED, mask: { image: { source: { case: "artifact" as const, value: settled.artifact } }, featherPx: job.decided?.feather ?? 0 } }),
        },
      }));
      const { results } = await this.ask(() => this.service.batchCreateEditJobs({ requests }));
      const made = results.flatMap((it) => (it.outcome.case === "job" ? [this.know(it.outcome.value)] : []));
      const refused = results.flatMap((it) => (it.outcome.case === "error" ? [it.outcome.value.message] : []));
      if (refused[0]) this.notice = `${refused.length} of ${count} variants were refused: ${refused[0]}.`;
      for (const it of made) this.watching.follow(it.name, it.last);
      this.variants = made;
      this.jobs = [...made.toReversed(), ...this.jobs];
    });
  }

  async cancel(job: Job): Promise<void> {
    await this.told(() => this.ask(() => this.service.cancelEditJob({ name: job.name, reason: "cancelled in the studio" })));
    this.watching.follow(job.name, job.last);
  }

  async list(): Promise<EditJob[]> {
    const { jobs } = await this.ask(() => this.service.listEditJobs({ pageSize: 50 }));
    return jobs;
  }

  /** The known job of a name, or what a list says of one. */
  know(job: EditJob): Job {
    const known = this.known.get(job.name) ?? new Job(job.name, this.service);
    this.known.set(job.name, known);
    known.take(job);
    return known;
  }

  /** Goes back to a job that a list brought. */
  async opened(job: EditJob): Promise<void> {
    const known = this.know(job);
    if (!this.jobs.includes(known)) this.jobs = [known, ...this.jobs];
    await this.back(known);
  }

  /** Tries again now, or with a new key; or gives up the call that waits. */
  again(go: boolean): void {
    for (const wake of [...this.waiting]) wake(go);
  }

  unlock(key: string): void {
    // A header can't carry others.
    const isKey = /^[!-~]*$/.test(key.trim());
    this.keyWanted = isKey ? undefined : { kind: "key", reason: "", message: "Keys have letters, digits and signs of ASCII alone.", retryMs: 0 };
    if (!isKey) return;
    this.key = key.trim();
    this.again(true);
    // What was followed with the old key.
    for (const job of this.known.values()) if (!job.isOver) this.watching.follow(job.name, job.last);
  }

  private show(picture: Picture): void {
    this.picture = picture;
    this.draft = new Draft(picture.bitmap, ACCENT);
    this.job = undefined;
    this.variants = [];
    this.reset();
  }

  private reset(): void {
    this.object = "";
    this.action = Action.UNSPECIFIED;
    this.seed = undefined;
  }

  /** Makes a job of the picture and the words, and shows it. */
  private async make(spec: Spec): Promise<void> {
    const { picture, job, instruction, object, action, seed } = this;
    if (!picture || this.isSending) return;
    await this.told(async () => {
      const labels = { [LABEL]: "edit", file: label(picture.name) };
      const whole: Spec = { ...spec, instruction, object, action, seed, labels, events: { previewMaxPx: 256, maxInlineBytes: 1 << 20 } };
      const made = await this.sent(picture, whole);
      if (job && job.state === State.AWAITING_MASK) void this.cancel(job);
      if (spec.maskPolicy === MaskPolicy.PROVIDED && job?.found) {
        made.found = job.found;
        made.words = job.words;
        made.parsed = job.parsed;
      }
      made.source = picture.bitmap;
      made.decided = { clusters: spec.mask?.clusters?.ids ?? [], feather: spec.mask?.featherPx ?? 0 };
      this.variants = [];
      this.job = made;
      this.seed = made.spec?.seed;
      this.jobs = [made, ...this.jobs];
    });
  }

  /** Creates a job on a picture: inline the first time, by its name at the server afterwards. */
  private async sent(picture: Picture, spec: Spec): Promise<Job> {
    const inline = { source: { case: "data" as const, value: picture.bytes } };
    const byName = picture.artifact ? { source: { case: "artifact" as const, value: picture.artifact } } : undefined;
    let job: Job;
    try {
      job = await this.create({ ...spec, image: byName ?? inline });
    } catch (error) {
      if (!byName || !(error instanceof Refused) || !error.problem.reason.startsWith("ARTIFACT_")) throw error;
      job = await this.create({ ...spec, image: inline });
    }
    const stored = job.spec?.image?.source;
    if (stored?.case === "artifact") picture.artifact = stored.value;
    return job;
  }

  private async create(spec: Spec): Promise<Job> {
    const requestId = newId();
    this.isSending = true;
    try {
      const job = this.know(await this.ask(() => this.service.createEditJob({ requestId, spec: create(EditSpecSchema, spec) })));
      this.watching.follow(job.name, job.last);
      return job;
    } finally {
      this.isSending = false;
    }
  }

  private async mask(draft: Draft): Promise<MessageInitShape<typeof MaskSchema>> {
    const featherPx = draft.feather;
    const isOfClusters = draft.origin === "found" || draft.origin === "clusters";
    if (isOfClusters && (!this.job?.hasParts || this.job.state === State.AWAITING_MASK)) return { clusters: { ids: draft.ids }, featherPx };
    if (draft.origin === "kept") return { image: { source: { case: "artifact", value: draft.artifact! } }, featherPx };
    const file = await maskFile(draft.mask.bytes, draft.width, draft.height);
    return { image: { source: { case: "data", value: file } }, featherPx };
  }

  private hear(message: FromWatcher): void {
    if (message.kind === "away") this.away = message.away;
    else if (message.kind === "event") void this.event(message.event.job, message);
    else {
      const job = this.known.get(message.job);
      if (!job) return;
      if (message.kind === "place") {
        if (!job.isOver) job.state = message.state;
        job.queue = message.queue;
      } else if (message.problem.kind === "key") this.keyWanted = message.problem;
      else this.notice = message.problem.message;
    }
  }

  private async event(name: string, { event }: Extract<FromWatcher, { kind: "event" }>): Promise<void> {
    const job = this.known.get(name);
    if (!job) return;
    const { found: before, settled, part } = job;
    await job.hear(event);
    if (job !== this.job || !this.draft) return;
    if (job.part !== part && job.part?.bitmap) this.draft = new Draft(job.part.bitmap, ACCENT);
    if (job.found && job.found !== before && job.spec) {
      const { tau = 0, refine = false, grow = 0 } = job.spec;
      if (job.state === State.AWAITING_MASK || !job.settled) this.draft.propose(job.found, tau, refine, grow);
    }
    if (job.settled && job.settled !== settled) this.draft.keep(job.settled.mask, job.settled.artifact);
  }

  /** Does something, and says what was refused. */
  private async told(act: () => Promise<unknown>): Promise<void> {
    this.notice = "";
    try {
      await act();
    } catch (error) {
      if (error instanceof Refused) this.notice = error.problem.message;
      else if (!(error instanceof Stopped)) throw error;
    }
  }

  /** Calls until there is an answer: waits for a server that is away or busy, and for a key. */
  private async ask<T>(call: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        const answer = await call();
        this.trouble = undefined;
        return answer;
      } catch (error) {
        const problem = problemOf(error);
        if (problem.kind === "refused") throw new Refused(problem);
        if (problem.kind === "key") this.keyWanted = problem;
        else this.trouble = problem;
        if (await this.pause(problem)) continue;
        this.trouble = undefined;
        throw new Stopped();
      }
    }
  }

  /** Waits for the time that a problem takes, or a key; false if the call is given up. */
  private async pause(problem: Problem): Promise<boolean> {
    const over = Promise.withResolvers<boolean>();
    this.waiting.add(over.resolve);
    const timer = problem.kind === "key" ? undefined : setTimeout(() => over.resolve(true), problem.retryMs);
    const goes = await over.promise;
    clearTimeout(timer);
    this.waiting.delete(over.resolve);
    return goes;
  }
}

class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.message);
  }
}
