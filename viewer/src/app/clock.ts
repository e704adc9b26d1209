import type { RecordingLike } from "../model/contract";
import type { Session } from "../model/session";
import type { Frame } from "../model/types";

/** What to draw: the moment between two frames. */
export interface Moment {
  readonly before: Frame;
  readonly after: Frame;
  /** 0 shows `before`, 1 shows `after`. */
  readonly fraction: number;
}

/** The ticks around a gap. */
export interface Gap {
  readonly before: number;
  readonly after: number;
}

/** The gap that contains a moment, or null: from the last tick before it to the first tick after it. */
export function gapAt(spans: RecordingLike["spans"], time: number): Gap | null {
  let [low, high] = [0, spans.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((spans[middle]?.[1] ?? 0) < time) low = middle + 1;
    else high = middle;
  }
  const [next, previous] = [spans[low], spans[low - 1]];
  return next && previous && time < next[0] ? { before: previous[1], after: next[0] } : null;
}

/** The recorded tick after (`direction` 1) or before a moment; the first or last if there is none. */
export function stepFrom(recording: RecordingLike, time: number, direction: 1 | -1): number {
  const wanted = direction > 0 ? Math.floor(time) + 1 : Math.ceil(time) - 1;
  const tick = Math.min(Math.max(wanted, recording.first), recording.last);
  const gap = gapAt(recording.spans, tick);
  return gap ? (direction > 0 ? gap.after : gap.before) : tick;
}

/** Maximum time between two frames, seconds, so that a suspended page does not jump. */
const LONGEST = 0.25;

/**
 * Advances `session.time` during playback. It waits for frames that are not in memory yet, skips gaps, and
 * stops at the end. A live world is shown slightly behind its newest tick, so that it advances evenly
 * although ticks arrive in chunks: faster than the selected speed if it falls behind, with a jump if it is far
 * behind.
 */
export class Clock {
  /** Requested frames have not arrived yet. */
  waiting = false;
  /** More ticks may arrive: playback waits at the end. */
  growing = false;
  private newest: number;
  /** Recent number of ticks that arrived at once. */
  private burst = 1;
  private last: Moment | undefined;

  constructor(
    private readonly session: Session,
    private readonly recording: RecordingLike,
  ) {
    this.newest = recording.last;
    recording.listen(() => this.noteGrowth());
  }

  /** Advances by an elapsed time, seconds. */
  advance(seconds: number): void {
    const { playing, live, time } = this.session.state;
    if (!playing) return;
    const ticks = Math.min(seconds, LONGEST) * (live && this.growing ? this.livePace() : this.pace());
    const target = live && this.growing ? this.leap(time + ticks) : time + ticks;
    const reached = this.reach(time, this.overGaps(time, target));
    const { last } = this.recording;
    if (reached >= last && !this.growing) this.session.change({ time: last, playing: false });
    else this.session.change({ time: reached });
  }

  /** Target delay of a live world behind its newest tick, ticks. */
  get lag(): number {
    return Math.max(1.5 * this.burst, 0.5 * this.pace(), 2);
  }

  /** Frames of the current moment; the last available ones while they are being fetched. */
  moment(): Moment | undefined {
    const { time } = this.session.state;
    const tick = Math.floor(time);
    const before = this.recording.frame(tick);
    const fraction = gapAt(this.recording.spans, time) ? 0 : time - tick;
    const after = fraction > 0 && tick < this.recording.last ? this.recording.frame(tick + 1) : before;
    if (!this.session.state.playing) this.waiting = !before;
    if (before) this.last = { before, after: after ?? before, fraction: after ? fraction : 0 };
    return this.last;
  }

  private pace(): number {
    return this.session.state.speed * this.session.state.ticksPerSecond;
  }

  /** Slower near the newest tick, so that it rarely waits there; up to four times as fast when behind. */
  private livePace(): number {
    const behind = this.recording.last - this.session.state.time;
    return this.pace() * Math.min(Math.max(behind / this.lag, 0.25), 4);
  }

  private leap(target: number): number {
    const { last, first } = this.recording;
    const far = this.lag + Math.max(4 * this.lag, 10 * this.pace());
    return last - target > far ? Math.max(first, last - this.lag) : Math.min(target, last);
  }

  /** The same distance, without gaps. */
  private overGaps(from: number, target: number): number {
    const { spans, last } = this.recording;
    let to = target;
    let gap = gapAt(spans, from);
    if (gap) to = gap.after + (target - from);
    for (const [, end] of spans) {
      if (end < from) continue;
      if (end >= to || end >= last) break;
      gap = gapAt(spans, end + 0.5);
      if (gap) to = gap.after + Math.max(0, to - end);
    }
    return Math.min(to, last);
  }

  /** Advances towards the target as far as frames are available. */
  private reach(from: number, target: number): number {
    this.waiting = false;
    // After a jump, or from a gap, only the frames around the target count.
    const leapt = target - from > this.pace() * LONGEST * 4 + 1;
    for (let tick = Math.floor(leapt ? target : from); tick <= Math.ceil(target); tick++) {
      if (tick > this.recording.last || gapAt(this.recording.spans, tick)) continue;
      if (this.recording.frame(tick)) continue;
      this.waiting = true;
      return leapt ? from : Math.min(Math.max(from, tick - 1), target);
    }
    return target;
  }

  private noteGrowth(): void {
    const grown = this.recording.last - this.newest;
    this.newest = this.recording.last;
    if (grown > 0 && this.growing) this.burst = Math.max(Math.min(grown, 4096), 0.9 * this.burst);
  }
}
