/** The device's camera in a video element. What it sees stays in the page. */

import { cameraFault } from './faults.ts';

/** Square pictures are taken, so more would be cut away. */
const WANTED: MediaStreamConstraints = {
  audio: false,
  video: { facingMode: 'environment', width: { ideal: 640 }, height: { ideal: 640 } },
};

/** One camera: off, or showing in its video element. */
export class Camera {
  readonly #video: HTMLVideoElement;
  #stream: MediaStream | undefined;

  constructor(video: HTMLVideoElement) {
    this.#video = video;
  }

  get on(): boolean {
    return this.#stream !== undefined;
  }

  /** @throws Error with sentences that say why there is no picture, and what to do */
  async start(): Promise<void> {
    // Pages that came over plain http have no such devices.
    if (navigator.mediaDevices === undefined) throw new Error(cameraFault(undefined));
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia(WANTED);
      this.#video.srcObject = this.#stream;
      this.#video.hidden = false;
      await this.#video.play();
    } catch (error) {
      this.stop();
      throw new Error(cameraFault(error as Error), { cause: error });
    }
  }

  /** The square in the middle of what it sees. */
  async take(): Promise<ImageBitmap> {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const side = Math.min(width, height);
    return createImageBitmap(this.#video, (width - side) / 2, (height - side) / 2, side, side);
  }

  stop(): void {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = undefined;
    this.#video.srcObject = null;
    this.#video.hidden = true;
  }
}
