import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type PutObjectCommandInput,
  S3Client,
} from '@aws-sdk/client-s3';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { isVolbakError, messageOf, VolbakError } from '../core/errors.ts';
import { assertKey } from './keys.ts';
import { explainS3Error } from './s3-errors.ts';
import type { S3Options } from './s3-options.ts';
import type { GetOptions, PutOptions, Store, StoredObject } from './store.ts';

/** Keys of one batch delete; the protocol's limit. */
const DELETE_BATCH = 1000;

interface WaitingDelete {
  key: string;
  resolve(): void;
  reject(error: unknown): void;
}

/** A store in an S3 bucket, below a prefix. One PutObject from memory an object; no multipart, nothing half visible. */
export class S3Store implements Store {
  readonly label: string;
  readonly #options: S3Options;
  readonly #client: S3Client;
  /** Whether the server honours `If-None-Match: *`; found out at the first put that needs it. */
  #conditional: Promise<boolean> | undefined;
  #deletes: WaitingDelete[] = [];

  constructor(options: S3Options) {
    this.#options = options;
    this.label = `s3://${options.bucket}/${options.prefix}`.replace(/\/$/, '');
    this.#client = createClient(options);
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<void> {
    assertKey(key);
    options.signal?.throwIfAborted();
    const ifAbsent = options.ifAbsent ?? false;
    if (ifAbsent && !(await this.#honoursConditions(options.signal))) {
      if (await this.#exists(key, options.signal)) throw this.#existsError(key);
      return this.#putObject(key, bytes, {}, options.signal);
    }
    return this.#putObject(key, bytes, ifAbsent ? { IfNoneMatch: '*' } : {}, options.signal);
  }

  async get(key: string, options: GetOptions = {}): Promise<Buffer> {
    assertKey(key);
    options.signal?.throwIfAborted();
    const { range } = options;
    if (range?.length === 0) return this.#emptyRange(key, range.offset, options.signal);
    const command = new GetObjectCommand({
      ...this.#place(key),
      ...(range ? { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` } : {}),
    });
    return this.#call('read', key, options.signal, async (abort) => {
      const { Body, ContentLength } = await this.#client.send(command, abort);
      const body = Buffer.from((await Body?.transformToByteArray()) ?? []);
      const expected = range?.length ?? ContentLength ?? body.length;
      if (body.length === expected) return body;
      throw new VolbakError('INTEGRITY', `${key} in ${this.label} is shorter than it should be`);
    });
  }

  async stat(key: string, options: { signal?: AbortSignal } = {}): Promise<StoredObject> {
    assertKey(key);
    options.signal?.throwIfAborted();
    return this.#call('read', key, options.signal, async (abort) => {
      const { ContentLength, LastModified } = await this.#client.send(
        new HeadObjectCommand(this.#place(key)),
        abort,
      );
      return { key, size: ContentLength ?? 0, modified: LastModified ?? new Date(0) };
    });
  }

  async *list(prefix: string, options: { signal?: AbortSignal } = {}): AsyncIterable<StoredObject> {
    const skip = this.#options.prefix.length;
    let token: string | undefined;
    do {
      options.signal?.throwIfAborted();
      const command = new ListObjectsV2Command({
        Bucket: this.#options.bucket,
        Prefix: this.#options.prefix + prefix,
        ...(token === undefined ? {} : { ContinuationToken: token }),
      });
      const page = await this.#call('list', prefix, options.signal, (abort) =>
        this.#client.send(command, abort),
      );
      for (const { Key = '', Size = 0, LastModified = new Date(0) } of page.Contents ?? []) {
        yield { key: Key.slice(skip), size: Size, modified: LastModified };
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  /** Deletes that are asked for together go out together. */
  async delete(key: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    assertKey(key);
    options.signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      this.#deletes.push({ key, resolve, reject });
      if (this.#deletes.length === 1) setImmediate(() => void this.#sendDeletes(options.signal));
    });
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  async #sendDeletes(signal: AbortSignal | undefined): Promise<void> {
    const waiting = this.#deletes;
    this.#deletes = [];
    for (let at = 0; at < waiting.length; at += DELETE_BATCH) {
      const batch = waiting.slice(at, at + DELETE_BATCH);
      try {
        await (batch.length === 1
          ? this.#deleteOne(batch[0]?.key ?? '', signal)
          : this.#deleteBatch(batch, signal));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
  }

  async #deleteOne(key: string, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#call('delete', key, signal, (abort) =>
        this.#client.send(new DeleteObjectCommand(this.#place(key)), abort),
      );
    } catch (error) {
      if (!isVolbakError(error, 'STORE_NOT_FOUND')) throw error;
    }
  }

  /** One request for many keys; a server that knows no batches gets them one by one. */
  async #deleteBatch(batch: readonly WaitingDelete[], signal: AbortSignal | undefined): Promise<void> {
    const Objects = batch.map(({ key }) => ({ Key: this.#options.prefix + key }));
    const command = new DeleteObjectsCommand({
      Bucket: this.#options.bucket,
      Delete: { Objects, Quiet: true },
    });
    const answer = await this.#call('delete', `${batch.length} objects`, signal, (abort) =>
      this.#client.send(command, abort),
    ).catch((error: unknown) => {
      if (isVolbakError(error, 'STORE_UNREACHABLE') && !error.retryable) return undefined;
      throw error;
    });
    if (answer && (answer.Errors ?? []).length === 0) return;
    for (const { key } of batch) await this.#deleteOne(key, signal);
  }

  async #putObject(
    key: string,
    bytes: Uint8Array,
    condition: Pick<PutObjectCommandInput, 'IfNoneMatch'>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { storageClass, encryption, kmsKey, checksum } = this.#options;
    const command = new PutObjectCommand({
      ...this.#place(key),
      ...condition,
      Body: bytes,
      ContentLength: bytes.length,
      ...(checksum === 'supported' ? { ChecksumAlgorithm: 'CRC32' } : {}),
      // The descriptor and manifests stay at hand also where data goes into a cold class.
      ...(storageClass && key.startsWith('segments/') ? { StorageClass: storageClass } : {}),
      ...(encryption ? { ServerSideEncryption: encryption } : {}),
      ...(kmsKey ? { SSEKMSKeyId: kmsKey } : {}),
    });
    await this.#call('write', key, signal, (abort) => this.#client.send(command, abort));
  }

  /** Finds out by putting one object twice whether conditions are honoured: some servers ignore them silently. */
  #honoursConditions(signal: AbortSignal | undefined): Promise<boolean> {
    this.#conditional ??= this.#probeConditions(signal).catch((error: unknown) => {
      this.#conditional = undefined;
      throw error;
    });
    return this.#conditional;
  }

  async #probeConditions(signal: AbortSignal | undefined): Promise<boolean> {
    const key = `probe-${randomBytes(8).toString('hex')}`;
    const condition = { IfNoneMatch: '*' };
    try {
      await this.#putObject(key, Buffer.from('1'), condition, signal);
      await this.#putObject(key, Buffer.from('2'), condition, signal);
      return false;
    } catch (error) {
      if (isVolbakError(error, 'STORE_EXISTS')) return true;
      const unknownHeader = isVolbakError(error, 'STORE_UNREACHABLE') && !error.retryable;
      if (unknownHeader) return false;
      throw error;
    } finally {
      await this.#deleteOne(key, signal).catch(() => {});
    }
  }

  async #exists(key: string, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      await this.stat(key, signal ? { signal } : {});
      return true;
    } catch (error) {
      if (isVolbakError(error, 'STORE_NOT_FOUND')) return false;
      throw error;
    }
  }

  async #emptyRange(key: string, offset: number, signal: AbortSignal | undefined): Promise<Buffer> {
    const { size } = await this.stat(key, signal ? { signal } : {});
    if (offset <= size) return Buffer.alloc(0);
    throw new VolbakError('INTEGRITY', `${key} in ${this.label} is shorter than it should be`);
  }

  #existsError(key: string): VolbakError {
    return new VolbakError('STORE_EXISTS', `${key} exists already in ${this.label}`);
  }

  #place(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#options.bucket, Key: this.#options.prefix + key };
  }

  async #call<T>(
    verb: string,
    key: string,
    signal: AbortSignal | undefined,
    send: (options: { abortSignal?: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    try {
      return await send(signal ? { abortSignal: signal } : {});
    } catch (error) {
      signal?.throwIfAborted();
      throw explainS3Error(error, verb, key, this.label, this.#options);
    }
  }
}

function createClient(options: S3Options): S3Client {
  const agent = { keepAlive: true, maxSockets: 32 };
  const tls = {
    ...agent,
    ...(options.insecure ? { rejectUnauthorized: false } : {}),
    ...(options.caFile === undefined ? {} : { ca: readCa(options.caFile) }),
  };
  const checksums = options.checksum === 'supported' ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED';
  return new S3Client({
    ...(options.region === undefined ? {} : { region: options.region }),
    ...(options.endpoint === undefined ? { followRegionRedirects: true } : { endpoint: options.endpoint }),
    forcePathStyle: options.pathStyle,
    requestChecksumCalculation: checksums,
    responseChecksumValidation: checksums,
    // Retrying is the business of one wrapper for all stores: retry.ts.
    maxAttempts: 1,
    requestHandler: new NodeHttpHandler({
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent(tls),
      connectionTimeout: 10_000,
      socketTimeout: 60_000,
    }),
  });
}

function readCa(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new VolbakError('CONFIG', `the CA file ${file} cannot be read: ${messageOf(error)}`, {
      hint: 'It is named by ?ca= in the repository URL.',
      cause: error,
    });
  }
}
