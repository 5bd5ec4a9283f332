// Why a call failed, in words for people.
import { Code, ConnectError } from "@connectrpc/connect";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb";

export interface Problem {
  /** `away`: no answer; `key`: the key is missing or wrong; `busy`: another try will help; `refused`: the rest. */
  kind: "away" | "key" | "busy" | "refused";
  /** The service's reason, such as QUEUE_FULL; empty where there is none. */
  reason: string;
  message: string;
  /** Time until another try may help. */
  retryMs: number;
}

const BUSY = new Set(["QUEUE_FULL", "TENANT_QUOTA", "RATE_LIMITED", "BODY_BUDGET", "MODEL_LOADING", "DRAINING"]);
/** Wait where the service names none. */
const RETRY_MS = 2000;

export function milliseconds(duration: Duration | undefined): number | undefined {
  return duration && Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}

export function problemOf(error: unknown): Problem {
  const failed = ConnectError.from(error);
  const reason = failed.findDetails(ErrorInfoSchema)[0]?.reason ?? "";
  const retryMs = milliseconds(failed.findDetails(RetryInfoSchema)[0]?.retryDelay) ?? RETRY_MS;
  const told = (kind: Problem["kind"], message: string): Problem => ({ kind, reason, message, retryMs });
  if (failed.code === Code.Unauthenticated) return told("key", sentence(failed.rawMessage));
  if (BUSY.has(reason)) return told("busy", sentence(failed.rawMessage));
  const noAnswer = reason === "" && [Code.Unavailable, Code.Unknown, Code.Internal, Code.Aborted].includes(failed.code);
  if (noAnswer || reason === "ENGINE_DOWN") return told("away", "The server does not answer.");
  return told("refused", sentence(failed.rawMessage));
}

/** A message as a sentence: a capital letter and a full stop. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (trimmed === "") return "It failed, and nothing was said of why.";
  return trimmed[0]!.toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}
