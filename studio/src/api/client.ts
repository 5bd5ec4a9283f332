// The service behind the page: the same origin and path that the page came from.
import { createClient, type Client, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { EditService } from "../gen/retouch/v1/edit_pb";

export type Service = Client<typeof EditService>;

/** A client whose calls carry the key that `key` returns at that moment. */
export function service(baseUrl: string, key: () => string): Service {
  const withKey: Interceptor = (next) => (request) => {
    const now = key();
    if (now !== "") request.header.set("x-api-key", now);
    return next(request);
  };
  return createClient(EditService, createGrpcWebTransport({ baseUrl, interceptors: [withKey] }));
}

/** The address that calls go to, without a slash at its end. */
export function baseUrl(): string {
  return new URL(".", document.baseURI).href.replace(/\/$/, "");
}
