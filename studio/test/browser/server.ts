// A real `retouch serve` with the demo model, and a proxy in front of it that counts, holds and cuts.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request, type IncomingMessage, type Server as HttpServer, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as listen } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { service, type Service } from "../../src/api/client";
import { RETOUCH } from "./global";

async function freePort(): Promise<number> {
  const probe = listen();
  await new Promise<void>((done) => probe.listen(0, "127.0.0.1", done));
  const { port } = probe.address() as AddressInfo;
  await new Promise((done) => probe.close(done));
  return port;
}

export class Server {
  private readonly folder = mkdtempSync(join(tmpdir(), "studio-"));
  private process: ChildProcess | undefined;
  readonly service: Service;

  private constructor(
    readonly port: number,
    private readonly flags: string[],
    private readonly environment: Record<string, string>,
    /** The key of the tenant, where keys are asked for. */
    readonly key: string,
  ) {
    this.service = service(`http://127.0.0.1:${port}`, () => key);
  }

  /** Starts a server; with `keys` it asks for one. */
  static async start({ keys = false, environment = {} }: { keys?: boolean; environment?: Record<string, string> } = {}): Promise<Server> {
    const flags: string[] = [];
    let key = "";
    const folder = mkdtempSync(join(tmpdir(), "studio-"));
    if (keys) {
      const made = spawnSync(RETOUCH, ["keys", "new", "--tenant", "acme", "--scope", "edit"], { encoding: "utf8" });
      key = /rt_\S+/.exec(made.stderr)![0];
      writeFileSync(join(folder, "keys.toml"), made.stdout);
      flags.push("--keys-file", join(folder, "keys.toml"));
    }
    const server = new Server(await freePort(), flags, environment, key);
    await server.run();
    return server;
  }

  /** Starts the process, also once more on the same folder. */
  async run(): Promise<void> {
    const { port, folder, flags } = this;
    const args = ["serve", "--listen", `127.0.0.1:${port}`, "--ops-listen", "127.0.0.1:0", "--data-dir", join(folder, "data"), "--drain-timeout", "1s", ...flags];
    this.process = spawn(RETOUCH, args, { stdio: "ignore", env: { ...process.env, ...this.environment } });
    for (let tries = 0; tries < 600; tries++) {
      try {
        const info = await this.service.getServerInfo({});
        if (info.model !== "" && info.notReadyReason === "") return;
      } catch {
        // Not yet.
      }
      await new Promise((done) => setTimeout(done, 100));
    }
    throw new Error("the server does not start");
  }

  async kill(): Promise<void> {
    const process = this.process!;
    const gone = new Promise((done) => process.once("exit", done));
    process.kill("SIGKILL");
    await gone;
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A call that went through the door. */
export interface Call {
  method: string;
  bytes: number;
  body: Buffer;
}

/** A proxy under a path of its own: it knows the calls, how many watches are open at once, and can be shut. */
export class Door {
  readonly calls: Call[] = [];
  openWatches = 0;
  mostWatches = 0;
  isShut = false;
  private readonly server: HttpServer;
  private readonly sockets = new Set<ServerResponse>();

  private constructor(
    private readonly target: number,
    private readonly prefix: string,
  ) {
    this.server = createServer((asked, answer) => this.pass(asked, answer));
  }

  static async open(target: number, prefix = "/tools/retouch/"): Promise<Door> {
    const door = new Door(target, prefix);
    await new Promise<void>((done) => door.server.listen(0, "127.0.0.1", done));
    return door;
  }

  get url(): string {
    return `http://localhost:${(this.server.address() as AddressInfo).port}${this.prefix}`;
  }

  named(method: string): Call[] {
    return this.calls.filter((it) => it.method === method);
  }

  /** Cuts every connection, and answers none from now on. */
  shut(): void {
    this.isShut = true;
    for (const answer of this.sockets) answer.destroy();
  }

  close(): void {
    this.shut();
    this.server.close();
  }

  private pass(asked: IncomingMessage, answer: ServerResponse): void {
    if (this.isShut || !asked.url!.startsWith(this.prefix)) return void asked.socket.destroy();
    const path = asked.url!.slice(this.prefix.length - 1);
    const method = path.split("/").pop()!;
    const isWatch = method === "WatchEditJob";
    this.sockets.add(answer);
    if (isWatch) {
      this.openWatches++;
      // One that was left a moment ago may still be closing.
      setTimeout(() => (this.mostWatches = Math.max(this.mostWatches, this.openWatches)), 300);
    }
    const to = request({ port: this.target, host: "127.0.0.1", path, method: asked.method, headers: asked.headers });
    const parts: Buffer[] = [];
    asked.on("data", (part: Buffer) => (parts.push(part), to.write(part)));
    asked.on("end", () => {
      const body = Buffer.concat(parts);
      this.calls.push({ method, bytes: body.length, body });
      to.end();
    });
    to.on("response", (from) => {
      answer.writeHead(from.statusCode!, from.headers);
      from.pipe(answer);
    });
    to.on("error", () => answer.destroy());
    answer.on("close", () => {
      to.destroy();
      this.sockets.delete(answer);
      if (isWatch) this.openWatches--;
    });
  }
}
