import { printableText } from '../../core/bytes.ts';
import { formatBytes, formatDuration } from '../../core/units.ts';

/** A progress bar on a terminal. */
export interface Progress {
  start(volume: string, action: string, total: number | undefined): void;
  update(volume: string, done: number, total: number | undefined): void;
  done(volume: string): void;
  /** Clears the line, so that text can be written; the next update draws it again. */
  pause(): void;
  stop(): void;
}

/** Rate over the last seconds, so that a slow start does not spoil the guess. */
class Rate {
  readonly #points: { time: number; done: number }[] = [];

  add(done: number): void {
    const time = performance.now();
    this.#points.push({ time, done });
    while (this.#points.length > 2 && time - (this.#points[0]?.time ?? 0) > 10_000) this.#points.shift();
  }

  /** Bytes per second. */
  get value(): number {
    const [first] = this.#points;
    const last = this.#points.at(-1);
    const ms = (last?.time ?? 0) - (first?.time ?? 0);
    return ms > 0 ? (((last?.done ?? 0) - (first?.done ?? 0)) / ms) * 1000 : 0;
  }
}

function render(volume: string, rate: number, done: number, total: number): string {
  const left = rate > 0 && total > done ? `, ${formatDuration(((total - done) / rate) * 1000)} left` : '';
  return `${printableText(volume)}  ${formatBytes(done)} of ${formatBytes(total)}  ${formatBytes(rate)}/s${left}`;
}

/** Draws with cli-progress on standard error. */
export async function createProgress(): Promise<Progress> {
  const { default: cliProgress } = await import('cli-progress');
  let bar: import('cli-progress').SingleBar | undefined;
  let rate = new Rate();
  const clear = () => {
    bar?.stop();
    bar = undefined;
  };
  return {
    start() {
      clear();
      rate = new Rate();
    },
    update(volume, done, total) {
      rate.add(done);
      // tar's headers make the stream a little longer than the files in it.
      const end = Math.max(total ?? done, done);
      if (!bar) {
        bar = new cliProgress.SingleBar({
          format: '  [{bar}] {percentage}% {text}',
          clearOnComplete: true,
          hideCursor: true,
          stream: process.stderr,
          barsize: 24,
          fps: 8,
        });
        bar.start(end, done, { text: '' });
      }
      bar.setTotal(end);
      bar.update(done, { text: render(volume, rate.value, done, end) });
    },
    done: clear,
    pause: clear,
    stop: clear,
  };
}
