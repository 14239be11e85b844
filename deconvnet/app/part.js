// A small picture with a frame around the part to try; a click or drag moves the frame.
export default {
  template: `
    <div class="dn-part" @pointerdown="hold" @pointermove="drag" @pointerup="let_go">
      <img :src="src" draggable="false" alt="the whole picture, small" />
      <div class="dn-frame" :style="{ left: percent(left), top: percent(top), width: percent(w), height: percent(h) }">
      </div>
    </div>
  `,
  props: { src: String, w: Number, h: Number },
  data() {
    return { x: 0.5, y: 0.5, held: false };
  },
  watch: {
    src() {
      this.x = this.y = 0.5;
    },
  },
  computed: {
    left() {
      return Math.min(Math.max(this.x - this.w / 2, 0), 1 - this.w);
    },
    top() {
      return Math.min(Math.max(this.y - this.h / 2, 0), 1 - this.h);
    },
  },
  methods: {
    percent(share) {
      return 100 * share + "%";
    },
    follow(event) {
      const box = event.currentTarget.getBoundingClientRect();
      this.x = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
      this.y = Math.min(Math.max((event.clientY - box.top) / box.height, 0), 1);
    },
    hold(event) {
      this.held = true;
      event.currentTarget.setPointerCapture(event.pointerId);
      this.follow(event);
    },
    drag(event) {
      if (this.held) this.follow(event);
    },
    let_go() {
      this.held = false;
      this.$emit("moved", { x: this.x, y: this.y });
    },
  },
};
