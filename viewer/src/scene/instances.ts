import {
  type BufferGeometry,
  DynamicDrawUsage,
  InstancedBufferGeometry,
  InstancedInterleavedBuffer,
  InterleavedBufferAttribute,
  Mesh,
  type ShaderMaterial,
} from "three";

/** Many copies of a shape in one draw call; their attributes are rewritten for every frame. */
export class Instances {
  readonly mesh: Mesh<InstancedBufferGeometry, ShaderMaterial>;
  /** Attributes of all copies, one after another. */
  data: Float32Array;
  count = 0;
  private buffer: InstancedInterleavedBuffer;

  /** @param fields Names of the attributes and number of components of each, in order. */
  constructor(
    shape: BufferGeometry,
    material: ShaderMaterial,
    private readonly fields: Readonly<Record<string, number>>,
    capacity = 64,
  ) {
    const geometry = new InstancedBufferGeometry();
    for (const [name, attribute] of Object.entries(shape.attributes)) geometry.setAttribute(name, attribute);
    geometry.setIndex(shape.index);
    this.mesh = new Mesh(geometry, material);
    this.mesh.frustumCulled = false;
    this.mesh.matrixAutoUpdate = false;
    this.data = new Float32Array(0);
    this.buffer = this.allocate(capacity);
  }

  /** Numbers per copy. */
  get stride(): number {
    return this.buffer.stride;
  }

  /** Starts again, with capacity for a number of copies. */
  begin(room: number): void {
    this.count = 0;
    if (room * this.stride > this.data.length) {
      this.mesh.geometry.dispose();
      this.buffer = this.allocate(Math.ceil(room * 1.25));
    }
  }

  /** Adds a copy; returns the index in `data` where its numbers begin. */
  next(): number {
    return this.count++ * this.stride;
  }

  /** Completes the update. */
  end(): void {
    this.mesh.geometry.instanceCount = this.count;
    this.mesh.visible = this.count > 0;
    if (!this.count) return;
    this.buffer.clearUpdateRanges();
    this.buffer.addUpdateRange(0, this.count * this.stride);
    this.buffer.needsUpdate = true;
  }

  dispose(): void {
    this.mesh.geometry.dispose();
  }

  private allocate(capacity: number): InstancedInterleavedBuffer {
    const stride = Object.values(this.fields).reduce((sum, size) => sum + size, 0);
    this.data = new Float32Array(capacity * stride);
    const buffer = new InstancedInterleavedBuffer(this.data, stride);
    buffer.setUsage(DynamicDrawUsage);
    let offset = 0;
    for (const [name, size] of Object.entries(this.fields)) {
      this.mesh.geometry.setAttribute(name, new InterleavedBufferAttribute(buffer, size, offset));
      offset += size;
    }
    return buffer;
  }
}
