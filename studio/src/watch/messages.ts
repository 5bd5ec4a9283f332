// What the page and the worker that watches for all tabs tell each other.
import type { EditEvent, EditJob_State, QueueUpdate } from "../gen/retouch/v1/edit_pb";
import type { Problem } from "../api/problem";

export type ToWatcher =
  | { kind: "follow"; job: string; after: bigint; baseUrl: string; key: string }
  /** The tab closes. */
  | { kind: "bye" };

export type FromWatcher =
  | { kind: "event"; event: EditEvent }
  /** A followed job that is not the watched one. */
  | { kind: "place"; job: string; state: EditJob_State; queue: QueueUpdate | undefined }
  | { kind: "away"; away: boolean }
  | { kind: "lost"; job: string; problem: Problem };
