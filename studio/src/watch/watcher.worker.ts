// One watch for all tabs of the page.
import { service, type Service } from "../api/client";
import { Follower } from "./follower";
import type { FromWatcher, ToWatcher } from "./messages";

const ports = new Set<MessagePort>();
const services = new Map<string, Service>();
const follower = new Follower((message: FromWatcher) => ports.forEach((port) => port.postMessage(message)));

function serviceFor(baseUrl: string, key: string): Service {
  const id = `${baseUrl}\n${key}`;
  const known = services.get(id) ?? service(baseUrl, () => key);
  services.set(id, known);
  return known;
}

self.addEventListener("connect", (connected) => {
  const port = (connected as MessageEvent).ports[0]!;
  ports.add(port);
  port.onmessage = ({ data }: MessageEvent<ToWatcher>) => {
    if (data.kind === "follow") follower.follow(data.job, data.after, serviceFor(data.baseUrl, data.key));
    else ports.delete(port);
  };
});
