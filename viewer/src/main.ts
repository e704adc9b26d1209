import { App } from "./app/app";
import { Stage } from "./scene/stage";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/panels.css";
import "./styles/options.css";

void new App(
  (canvas, recording, session) => new Stage(canvas, recording.header, recording.base, session),
).begin();
