// The page's end of the watch: in a worker that all tabs share, or in the page where browsers have no such workers.
import { baseUrl, type Service } from "../api/client";
import { Follower } from "./follower";
import type { FromWatcher, ToWatcher } from "./messages";

export interface Watch {
  follow(job: string, after: bigint): void;
}

export function watch(service: Service, key: () => string, hear: (message: FromWatcher) => void): Watch {
  if (typeof SharedWorker === "undefined") {
    const follower = new Follower(hear);
    return { follow: (job, after) => follower.follow(job, after, service) };
  }
  const { port } = new SharedWorker(new URL("./watcher.worker.ts", import.meta.url), { type: "module", name: "retouch" });
  const send = (message: ToWatcher) => port.postMessage(message);
  port.onmessage = ({ data }: MessageEvent<FromWatcher>) => hear(data);
  // A page that the browser keeps may come back, and hears on.
  window.addEventListener("pagehide", ({ persisted }) => persisted || send({ kind: "bye" }));
  return { follow: (job, after) => send({ kind: "follow", job, after, baseUrl: baseUrl(), key: key() }) };
}
