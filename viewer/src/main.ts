import { Color, PerspectiveCamera, Scene, WebGLRenderer } from "three";

const canvas = document.querySelector<HTMLCanvasElement>("#world");
if (!canvas) throw new Error("index.html has no canvas #world");

const renderer = new WebGLRenderer({ canvas, antialias: true });
const scene = new Scene();
scene.background = new Color("#3a7ca5");
const camera = new PerspectiveCamera();

function draw(): void {
  renderer.setSize(window.innerWidth, window.innerHeight);
  renderer.render(scene, camera);
}

window.addEventListener("resize", draw);
draw();
