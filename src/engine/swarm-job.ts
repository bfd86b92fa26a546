import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import type Dockerode from 'dockerode';
import { VolbakError } from '../core/errors.ts';
import { processState } from '../core/process-identity.ts';
import type { EngineConnection } from './connect.ts';
import { demultiplex } from './demux.ts';
import { statusOf } from './helper.ts';
import { OWNER_LABEL, ownerLabels } from './labels.ts';
import { listServices, type SwarmService, swarmCall } from './swarm.ts';

/** On services that a fleet command made, and so on their tasks: which run it was. */
const RUN_LABEL = 'io.volbak.fleet-run';

/** One node's share of a job. */
export interface JobTask {
  id: string;
  nodeId: string;
  /** As the Swarm calls it: `new`, `pending`, …, `running`, `complete`, `failed`, `rejected`, … */
  state: string;
  /** Undefined until its container ended. */
  exitCode?: number;
  /** What kept it from starting, or ended it. */
  error?: string;
}

/** What a task wrote. */
export interface TaskOutput {
  stdout: string;
  stderr: string;
}

/** A service that runs once on each node. */
export interface SwarmJob {
  name: string;
  tasks(): Promise<JobTask[]>;
  /** Reads what a task that ended wrote. Raises where its node does not tell within `timeoutMs`. */
  output(task: JobTask, timeoutMs: number): Promise<TaskOutput>;
  /** Removes the service: what still runs is stopped as `docker stop` does it. Safe to call twice. */
  remove(): Promise<void>;
}

/** So much of a task's output is kept. */
const MAX_OUTPUT = 64 * 1024 * 1024;

/**
 * Starts a command once on each node, as a service like `model` in all but that: image, user, mounts, secrets, network.
 * A task that ended, however, is not started again.
 */
export async function startJob(
  engine: EngineConnection,
  model: SwarmService,
  words: readonly string[],
): Promise<SwarmJob> {
  const run = randomBytes(5).toString('hex');
  const name = `volbak-fleet-${run}`;
  const template = model.spec.TaskTemplate as Dockerode.ContainerTaskSpec | undefined;
  if (!template?.ContainerSpec)
    throw new VolbakError('NOT_FOUND_IN_ENGINE', `service ${model.name} runs no containers`);
  const { RestartPolicy: _, ...task } = template;
  const spec: Dockerode.CreateServiceOptions = {
    Name: name,
    Labels: { [RUN_LABEL]: run, ...ownerLabels(engine) },
    TaskTemplate: {
      ...task,
      ContainerSpec: { ...template.ContainerSpec, Args: [...words] },
      RestartPolicy: { Condition: 'none' },
      // What it prints is its result, wherever the model's log goes.
      LogDriver: { Name: 'json-file', Options: { 'max-size': '64m', 'max-file': '1' } },
    },
    // Not a global job: docs/adr/0015 says why.
    Mode: { Global: {} },
  };
  const service = await swarmCall(engine, `cannot start job ${name}`, () =>
    engine.docker.createService(spec),
  );
  return {
    name,
    tasks: () => tasksOf(engine, run),
    output: ({ id }, timeoutMs) => readOutput(engine, id, timeoutMs),
    remove: () => removeJob(engine, service.id),
  };
}

interface TaskAnswer {
  ID: string;
  NodeID?: string;
  Status?: { State?: string; Err?: string; ContainerStatus?: { ExitCode?: number; ContainerID?: string } };
}

/** States in which a task's container has run to its end. */
const RAN = new Set(['complete', 'failed', 'shutdown']);

async function tasksOf(engine: EngineConnection, run: string): Promise<JobTask[]> {
  const tasks: TaskAnswer[] = await swarmCall(engine, 'cannot list the tasks', () =>
    engine.docker.listTasks({ filters: { label: [`${RUN_LABEL}=${run}`] } }),
  );
  return tasks.map(({ ID, NodeID = '', Status = {} }) => {
    const { State: state = 'new', Err: error, ContainerStatus: container } = Status;
    // A code that is not told is 0: only a container that was made has any.
    const ran = RAN.has(state) && container?.ContainerID;
    return {
      id: ID,
      nodeId: NodeID,
      state,
      ...(ran ? { exitCode: container.ExitCode ?? 0 } : {}),
      ...(error ? { error } : {}),
    };
  });
}

async function readOutput(engine: EngineConnection, task: string, timeoutMs: number): Promise<TaskOutput> {
  const stdout = new Kept();
  const stderr = new Kept();
  const signal = AbortSignal.timeout(timeoutMs);
  const answer = await requestLog(engine, task, signal);
  const cut = () => answer.destroy(signal.reason);
  signal.addEventListener('abort', cut);
  try {
    for await (const bytes of demultiplex(answer, (part) => stderr.add(part))) stdout.add(bytes);
  } finally {
    signal.removeEventListener('abort', cut);
    answer.destroy();
  }
  return { stdout: stdout.text, stderr: stderr.text };
}

/** The end of a stream of bytes, up to a bound. */
class Kept {
  #parts: Buffer[] = [];
  #length = 0;

  add(bytes: Buffer): void {
    this.#parts.push(Buffer.from(bytes));
    this.#length += bytes.length;
    while (this.#length > MAX_OUTPUT) this.#length -= this.#parts.shift()?.length ?? 0;
  }

  get text(): string {
    return Buffer.concat(this.#parts).toString('utf8');
  }
}

function requestLog(engine: EngineConnection, task: string, abortSignal: AbortSignal): Promise<Readable> {
  return new Promise((resolve, reject) => {
    engine.docker.modem.dial(
      {
        path: `/tasks/${task}/logs?stdout=1&stderr=1&`, // docker-modem cuts the last character off
        method: 'GET',
        isStream: true,
        abortSignal,
        statusCodes: { 200: true, 404: 'no such task', 500: 'server error', 503: 'no manager' },
      } as Parameters<typeof engine.docker.modem.dial>[0],
      (error: unknown, answer: unknown) => (error ? reject(error) : resolve(answer as Readable)),
    );
  });
}

async function removeJob(engine: EngineConnection, id: string): Promise<void> {
  try {
    await engine.docker.getService(id).remove();
  } catch (error) {
    if (statusOf(error) !== 404) throw error;
  }
}

/**
 * Removes services of fleet commands that were killed on this host. Returns the names of those that are of other hosts: they
 * may be at work.
 */
export async function sweepJobs(engine: EngineConnection): Promise<string[]> {
  const others: string[] = [];
  for (const { id, name, labels } of await listServices(engine, RUN_LABEL)) {
    const state = processState(labels[OWNER_LABEL] ?? '');
    if (state === 'dead') await removeJob(engine, id);
    else if (state === 'elsewhere') others.push(name);
  }
  return others;
}
