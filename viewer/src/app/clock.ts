import type { RecordingLike } from "../model/contract";
import type { Session } from "../model/session";
import type { Frame } from "../model/types";

/** What is to be drawn: the moment between two frames. */
export interface Moment {
  readonly before: Frame;
  readonly after: Frame;
  /** 0 shows `before`, 1 shows `after`. */
  readonly fraction: number;
}

/** Of a gap between ticks, what lies around it. */
export interface Gap {
  readonly before: number;
  readonly after: number;
}

/** The gap that a moment is in, or null: all between the last tick before it and the first after it is gap. */
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

/** Longest time between two pictures that counts, seconds: a page that slept does not leap. */
const LONGEST = 0.25;

/**
 * Moves `session.time` on while it plays. It waits where frames are not in memory yet, leaps over gaps, and
 * stops at the end. A live world is shown a little behind its newest tick, so that it goes on evenly although
 * ticks come in chunks: faster than the speed chosen where it falls behind, in a leap where it is far behind.
 */
export class Clock {
  /** Frames that are wanted have not come yet. */
  waiting = false;
  /** More ticks may come: the end is waited at. */
  growing = false;
  private newest: number;
  /** Ticks that came at once, of late. */
  private burst = 1;
  private last: Moment | undefined;

  constructor(
    private readonly session: Session,
    private readonly recording: RecordingLike,
  ) {
    this.newest = recording.last;
    recording.listen(() => this.noteGrowth());
  }

  /** Lets so many seconds pass. */
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

  /** How far behind the newest tick a live world is shown, ticks. */
  get lag(): number {
    return Math.max(1.5 * this.burst, 0.5 * this.pace(), 2);
  }

  /** Frames of the moment shown; the last that could be had while they are fetched. */
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

  /** Slower when near the newest, so that it seldom waits there; up to four times as fast when behind. */
  private livePace(): number {
    const behind = this.recording.last - this.session.state.time;
    return this.pace() * Math.min(Math.max(behind / this.lag, 0.25), 4);
  }

  private leap(target: number): number {
    const { last, first } = this.recording;
    const far = this.lag + Math.max(4 * this.lag, 10 * this.pace());
    return last - target > far ? Math.max(first, last - this.lag) : Math.min(target, last);
  }

  /** The same distance, with gaps taking no time. */
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

  /** As far towards the target as frames are there. */
  private reach(from: number, target: number): number {
    this.waiting = false;
    // After a leap, or from a gap, only the frames around the target count.
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
