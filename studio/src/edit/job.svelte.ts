// A job as its events tell of it.
import {
  type Artifact,
  type Cluster,
  type EditEvent,
  type EditJob,
  EditJob_State as State,
  type EditSpec,
  type InstructionParsed,
  type JobError,
  MaskSource,
  Pass,
  type Provenance,
  type QueueUpdate,
  type StepProgress,
  type Timings,
  type Warning,
} from "../gen/retouch/v1/edit_pb";
import { bytesOf, mimeOf } from "../api/artifacts";
import type { Service } from "../api/client";
import type { Labels, Size } from "../mask/clusters";
import { decode, grays } from "../ui/pixels";

/** Attention to a word: values 0 to 255. */
export interface Word {
  word: string;
  isObject: boolean;
  min: number;
  max: number;
  width: number;
  height: number;
  values: Uint8Array;
}

/** What pass 1 found. */
export interface Found {
  clusters: Cluster[];
  labels: Labels;
  /** The proposed mask. */
  mask: ImageBitmap;
  etag: string;
  confidence: number | undefined;
  /** What the cells cover, in pixels of the input. */
  covered: Size;
  /** Whether the localization was in the service's memory, and no step was made. */
  cached: boolean;
  /** The job that found it. */
  by: string;
}

export interface Settled {
  artifact: string;
  mask: ImageBitmap;
  area: number;
  /** Whether it is the proposed one. */
  isProposed: boolean;
}

/** One of several edits that an instruction asks for. */
export interface Part {
  number: number;
  of: number;
  instruction: string;
  /** The picture that it begins with; none for the first. */
  bitmap: ImageBitmap | undefined;
}

/** What was decided on the mask in this page. */
export interface Decided {
  clusters: number[];
  feather: number;
}

export interface Result {
  artifact: string;
  bytes: Uint8Array<ArrayBuffer>;
  type: string;
  bitmap: ImageBitmap;
  provenance: Provenance | undefined;
  timings: Timings | undefined;
}

export const OVER = [State.SUCCEEDED, State.FAILED, State.CANCELLED];

export class Job {
  state = $state(State.QUEUED);
  spec = $state.raw<EditSpec>();
  queue = $state.raw<QueueUpdate>();
  parsed = $state.raw<InstructionParsed>();
  warnings = $state.raw<Warning[]>([]);
  step = $state.raw<StepProgress>();
  preview = $state.raw<ImageBitmap>();
  words = $state.raw<Word[]>([]);
  found = $state.raw<Found>();
  settled = $state.raw<Settled>();
  part = $state.raw<Part>();
  result = $state.raw<Result>();
  error = $state.raw<JobError>();
  /** The same edit by plain InstructPix2Pix, where it was asked for. */
  plain = $state<Job>();
  decided: Decided | undefined;
  /** The picture that it edits, once it is here. */
  source = $state.raw<ImageBitmap>();
  /** The number of the last event that counts. */
  last = 0n;
  created = 0;
  private clusters: { list: Cluster[]; labels: Labels } | undefined;
  private order: Promise<void> = Promise.resolve();

  constructor(
    readonly name: string,
    private readonly service: Service,
  ) {}

  get isOver(): boolean {
    return OVER.includes(this.state);
  }

  get isBusy(): boolean {
    return !this.isOver && this.state !== State.AWAITING_MASK;
  }

  /** Whether the instruction asks for several edits. */
  get hasParts(): boolean {
    return (this.part?.of ?? 1) > 1;
  }

  /** Takes over what a call answered. */
  take(job: EditJob): void {
    this.spec = job.spec;
    this.created = Number(job.createTime?.seconds ?? 0n);
    if (this.last === 0n) {
      this.state = job.state;
      this.queue = job.queue;
    }
    this.error ??= job.error;
  }

  /** Takes an event; those that were heard before are left out. Resolves when its pictures are decoded. */
  hear(event: EditEvent): Promise<void> {
    this.order = this.order.then(() => this.apply(event)).catch((error: unknown) => console.error("an event can't be shown", error));
    return this.order;
  }

  private async apply({ event, sequence }: EditEvent): Promise<void> {
    if (event.case === "queue") this.queue = event.value;
    else if (event.case === "step") this.step = this.isNow(event.value.pass) ? event.value : this.step;
    else if (event.case === "preview") this.preview = this.isNow(event.value.pass) ? await this.picture(event.value.image) : this.preview;
    else if (sequence > this.last) {
      this.last = sequence;
      await this.control(event);
    }
  }

  /** Whether a pass is the one that runs; a new watch begins with the last step of the pass before. */
  private isNow(pass: Pass): boolean {
    return pass === Pass.EDIT ? this.state === State.EDITING : this.state === State.LOCALIZING;
  }

  private async control(event: EditEvent["event"]): Promise<void> {
    switch (event.case) {
      case "state":
        this.state = event.value.state;
        if (this.isOver || this.state === State.AWAITING_MASK) this.preview = this.step = undefined;
        if (this.state !== State.QUEUED && this.state !== State.MASK_READY) this.queue = undefined;
        break;
      case "instruction":
        this.parsed = event.value;
        break;
      case "part": {
        const { number, of, instruction, image } = event.value;
        this.part = { number, of, instruction, bitmap: await this.picture(image) };
        this.found = this.settled = this.clusters = undefined;
        this.words = [];
        break;
      }
      case "warning":
        this.warnings = [...this.warnings, event.value];
        break;
      case "clusterMap": {
        const labels = await this.picture(event.value.labels);
        if (!labels) break;
        const { width, height } = labels;
        this.clusters = { list: event.value.clusters, labels: { width, height, ids: grays(labels) } };
        break;
      }
      case "heatmap": {
        const map = await this.picture(event.value.image);
        if (!map) break;
        const { word, isObject, min, max } = event.value;
        this.words = [...this.words, { word, isObject, min, max, width: map.width, height: map.height, values: grays(map) }];
        break;
      }
      case "maskProposed": {
        const { mask: artifact, etag, confidence, covered, localizationSource } = event.value;
        const mask = await this.picture(artifact);
        if (!mask || !this.clusters) break;
        const { list, labels } = this.clusters;
        this.found = {
          clusters: event.value.clusters.length > 0 ? event.value.clusters : list,
          labels,
          mask,
          etag,
          confidence,
          covered: covered ?? { width: mask.width, height: mask.height },
          cached: localizationSource === 2,
          by: this.name,
        };
        break;
      }
      case "maskSettled": {
        const mask = await this.picture(event.value.mask);
        if (mask) this.settled = { artifact: event.value.mask!.name, mask, area: event.value.area, isProposed: event.value.source === MaskSource.PROPOSED };
        break;
      }
      case "result": {
        const { image, mask, provenance, timings } = event.value;
        if (!image) break;
        // The masks of all parts, united.
        const united = this.hasParts ? await this.picture(mask) : undefined;
        if (united && mask) this.settled = { artifact: mask.name, mask: united, area: this.settled?.area ?? 0, isProposed: false };
        const bytes = await bytesOf(this.service, image);
        const type = image.mimeType || mimeOf(bytes);
        this.result = { artifact: image.name, bytes, type, bitmap: await decode(bytes, type), provenance, timings };
        break;
      }
      case "error":
        this.error = event.value;
        break;
    }
  }

  private async picture(artifact: Artifact | undefined): Promise<ImageBitmap | undefined> {
    return artifact && decode(await bytesOf(this.service, artifact), artifact.mimeType);
  }
}
