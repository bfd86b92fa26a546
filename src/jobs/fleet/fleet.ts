import { messageOf, VolbakError } from '../../core/errors.ts';
import type { EventSink } from '../../core/events.ts';
import { sleep } from '../../core/sleep.ts';
import type { EngineConnection } from '../../engine/connect.ts';
import { findFleetService, listNodes, type SwarmNode } from '../../engine/swarm.ts';
import { type JobTask, type SwarmJob, startJob, sweepJobs } from '../../engine/swarm-job.ts';
import { lastWords, readResult, withoutExit } from './outcome.ts';
import type { FleetOptions, NodeResult } from './types.ts';

export interface FleetContext {
  engine: EngineConnection;
  emit: EventSink;
  signal: AbortSignal;
}

const POLL_MS = 500;
/** The Swarm makes tasks for all nodes within moments; a node that got none by then is not meant. */
const PLACED_MS = 10_000;
/** A manager that is asked while the Swarm elects its leader cannot answer. */
const SILENCE_MS = 60_000;
const LOG_MS = 60_000;

/** States in which nothing more happens to a task. */
const OVER = new Set(['complete', 'failed', 'rejected', 'shutdown', 'orphaned', 'remove']);
/** States in which its container does not run yet. */
const BEFORE = new Set([
  'new',
  'allocated',
  'pending',
  'assigned',
  'accepted',
  'preparing',
  'ready',
  'starting',
]);

/**
 * Runs a command of volbak once on each node of the Swarm, as a job like the service that runs volbak there, and gathers
 * what became of it. The job is removed on every way out. Raises NOT_FOUND_IN_ENGINE where there is no Swarm or no such
 * service, TERMINATED and INTERRUPTED.
 */
export async function runOnFleet(
  context: FleetContext,
  words: readonly string[],
  options: FleetOptions,
): Promise<NodeResult[]> {
  const { engine, emit, signal } = context;
  const nodes = await listNodes(engine);
  const model = await findFleetService(engine, options.service);
  for (const name of await sweepJobs(engine))
    emit({ event: 'info', message: `${name} is another machine's fleet command, at work or killed` });
  tellNamesakes(nodes, emit);
  signal.throwIfAborted();
  const job = await startJob(engine, model, words);
  try {
    return await new FleetRun(context, job, nodes, options).results();
  } finally {
    await removeInTheEnd(job, emit);
  }
}

async function removeInTheEnd(job: SwarmJob, emit: EventSink): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await job.remove();
    } catch (error) {
      if (tries === 3) {
        const message = `service ${job.name} could not be removed (${messageOf(error)}): docker service rm ${job.name}`;
        return emit({ event: 'warning', message });
      }
      await sleep(2000);
    }
  }
}

/** Sources are told apart by the names of their nodes. */
function tellNamesakes(nodes: readonly SwarmNode[], emit: EventSink): void {
  const seen = new Set<string>();
  for (const { name } of nodes) {
    if (seen.has(name))
      emit({
        event: 'warning',
        message: `several nodes are called ${name}: their snapshots cannot be told apart`,
      });
    seen.add(name);
  }
}

class FleetRun {
  readonly #context: FleetContext;
  readonly #job: SwarmJob;
  readonly #options: FleetOptions;
  readonly #results = new Map<string, NodeResult>();
  readonly #running = new Set<string>();
  readonly #began = performance.now();
  #nodes: readonly SwarmNode[];
  #tasks = new Map<string, JobTask>();

  constructor(context: FleetContext, job: SwarmJob, nodes: readonly SwarmNode[], options: FleetOptions) {
    this.#context = context;
    this.#job = job;
    this.#nodes = nodes;
    this.#options = options;
  }

  async results(): Promise<NodeResult[]> {
    for (;;) {
      await this.#look();
      for (const node of this.#nodes) await this.#judge(node, this.#tasks.get(node.id));
      if (this.#isOver()) break;
      await sleep(POLL_MS, this.#context.signal);
    }
    return this.#nodes.flatMap(({ id }) => this.#results.get(id) ?? []);
  }

  get #elapsedMs(): number {
    return performance.now() - this.#began;
  }

  /** The task of each node, and the nodes anew; goes on trying for a while where the manager has no answer. */
  async #look(): Promise<void> {
    const { engine, signal } = this.#context;
    const since = performance.now();
    for (;;) {
      try {
        this.#nodes = await listNodes(engine);
        this.#tasks = new Map((await this.#job.tasks()).map((task) => [task.nodeId, task]));
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (performance.now() - since > SILENCE_MS) throw error;
        await sleep(POLL_MS, signal);
      }
    }
  }

  async #judge(node: SwarmNode, task: JobTask | undefined): Promise<void> {
    if (this.#results.has(node.id)) return;
    const end = (state: string, message: string) =>
      this.#settle(withoutExit(node.name, node.id, state, message));
    if (task && OVER.has(task.state)) return this.#settle(await this.#ended(node, task));
    const { startTimeoutMs, timeoutMs } = this.#options;
    if (!node.ready) {
      // What nobody wants there needs not be up.
      if (task || node.availability === 'active') end('down', 'the node does not answer its manager');
      return;
    }
    if (timeoutMs !== undefined && this.#elapsedMs > timeoutMs && task)
      return end(task.state, 'it took longer than --timeout allows, and was stopped');
    if (!task) return;
    if (BEFORE.has(task.state)) {
      if (this.#elapsedMs > startTimeoutMs) end('not started', task.error ?? `it stayed ${task.state}`);
      return;
    }
    if (this.#running.has(node.id)) return;
    this.#running.add(node.id);
    this.#context.emit({ event: 'info', message: `${node.name}: running` });
  }

  async #ended({ name, id }: SwarmNode, task: JobTask): Promise<NodeResult> {
    const { exitCode, state } = task;
    if (exitCode === undefined) return withoutExit(name, id, 'not started', task.error ?? `it was ${state}`);
    const result: NodeResult = { node: name, nodeId: id, state, exit: exitCode };
    try {
      const output = await this.#job.output(task, LOG_MS);
      Object.assign(result, readResult(output));
      const said = lastWords(output) ?? task.error;
      if (exitCode !== 0 && result.result === undefined && result.error === undefined)
        result.error = { message: said ?? `it ended with exit code ${exitCode}` };
    } catch (error) {
      this.#context.emit({
        event: 'warning',
        message: `${name}: its output cannot be read: ${messageOf(error)}`,
      });
    }
    return result;
  }

  #settle(result: NodeResult): void {
    this.#results.set(result.nodeId, result);
    const message = result.error?.message;
    const how =
      result.exit === 0 ? 'done' : `exit ${result.exit}${message === undefined ? '' : `: ${message}`}`;
    this.#context.emit({ event: result.exit === 0 ? 'info' : 'warning', message: `${result.node}: ${how}` });
  }

  /** Nodes that are to be left alone, or that no task was made for, are not waited for. */
  #isOver(): boolean {
    const open = this.#nodes.filter(({ id }) => !this.#results.has(id));
    const meant = open.filter(({ id, ready, availability }) => {
      if (this.#tasks.has(id)) return true;
      return ready && availability === 'active' && this.#elapsedMs < PLACED_MS;
    });
    if (meant.length > 0) return false;
    if (this.#results.size > 0) return true;
    throw new VolbakError('NOT_FOUND_IN_ENGINE', 'the Swarm started volbak on none of its nodes', {
      hint: 'Look at the placement of the service, and at the availability of nodes: docker node ls',
    });
  }
}
