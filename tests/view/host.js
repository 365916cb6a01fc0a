/** The host side of the conversation: the official bridge around one iframe, bundled for the browser by chart.mjs. */
import { AppBridge, PostMessageTransport, buildAllowAttribute } from "@modelcontextprotocol/ext-apps/app-bridge";

const host = { sizes: [] };
window.host = host;

host.open = async ({ url, capabilities, context, permissions, sandbox }) => {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", sandbox);
  frame.allow = buildAllowAttribute(permissions);
  document.body.append(frame);
  const bridge = new AppBridge(null, { name: "test-host", version: "1" }, capabilities, { hostContext: context });
  host.bridge = bridge;
  bridge.oncalltool = (params) => window.callTool(params);
  bridge.onsizechange = ({ height }) => {
    host.sizes.push(height);
    frame.style.height = `${height}px`;
  };
  const initialized = new Promise((resolve) => { bridge.oninitialized = resolve; });
  await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  frame.src = url;
  await initialized;
};
host.input = (args) => host.bridge.sendToolInput({ arguments: args });
host.result = (result) => host.bridge.sendToolResult(result);
host.context = (context) => host.bridge.sendHostContextChange(context);
host.tearDown = () => host.bridge.teardownResource({});
