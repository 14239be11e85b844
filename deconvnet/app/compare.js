// Before and after on top of each other, one pixel of the picture to one of the screen, with a divider to drag.
export default {
  template: `
    <div class="dn-compare" ref="frame" :style="{ width: side(width) }">
      <div class="dn-scroll" ref="scroll" @scroll="place" @pointerdown="grab" @pointermove="pan" @pointerup="drop">
        <div class="dn-stage" :style="{ width: side(width), height: side(height) }">
          <img class="dn-before" :src="before" draggable="false" alt="before" />
          <img class="dn-after" :src="after" draggable="false" alt="after" :style="{ clipPath: clip }" />
        </div>
      </div>
      <span class="dn-tag dn-tag-left" v-show="share > 0.12">before</span>
      <span class="dn-tag dn-tag-right" v-show="share < 0.88">after</span>
      <div class="dn-divider" role="slider" tabindex="0" aria-label="share of the picture before"
        aria-valuemin="0" aria-valuemax="100" :aria-valuenow="Math.round(100 * share)" :style="{ left: 100 * share + '%' }"
        @pointerdown="hold" @pointermove="drag" @pointerup="let_go" @keydown.left.prevent="move(-0.02)"
        @keydown.right.prevent="move(0.02)"><i></i></div>
    </div>
  `,
  props: { before: String, after: String, width: Number, height: Number },
  data() {
    return { share: 0.5, clip: "none", held: false, from: null, ratio: window.devicePixelRatio || 1 };
  },
  mounted() {
    this.watcher = new ResizeObserver(() => {
      this.ratio = window.devicePixelRatio || 1;
      this.$nextTick(this.place);
    });
    this.watcher.observe(this.$refs.scroll);
    this.middle();
  },
  unmounted() {
    this.watcher.disconnect();
  },
  watch: {
    width() {
      this.$nextTick(this.middle);
    },
    height() {
      this.$nextTick(this.middle);
    },
  },
  methods: {
    side(pixels) {
      return pixels / this.ratio + "px";
    },
    place() {
      const scroll = this.$refs.scroll;
      this.clip = `inset(0 0 0 ${scroll.scrollLeft + this.share * scroll.clientWidth}px)`;
    },
    middle() {
      const scroll = this.$refs.scroll;
      scroll.scrollLeft = (scroll.scrollWidth - scroll.clientWidth) / 2;
      scroll.scrollTop = (scroll.scrollHeight - scroll.clientHeight) / 2;
      this.place();
    },
    move(by) {
      this.share = Math.min(Math.max(this.share + by, 0), 1);
      this.place();
    },
    hold(event) {
      this.held = true;
      event.target.setPointerCapture(event.pointerId);
    },
    drag(event) {
      if (!this.held) return;
      const box = this.$refs.scroll.getBoundingClientRect();
      this.share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
      this.place();
    },
    let_go() {
      this.held = false;
    },
    grab(event) {
      if (event.pointerType !== "mouse") return; // fingers scroll by themselves
      const scroll = this.$refs.scroll;
      this.from = [event.clientX + scroll.scrollLeft, event.clientY + scroll.scrollTop];
      scroll.setPointerCapture(event.pointerId);
    },
    pan(event) {
      if (!this.from) return;
      this.$refs.scroll.scrollLeft = this.from[0] - event.clientX;
      this.$refs.scroll.scrollTop = this.from[1] - event.clientY;
    },
    drop() {
      this.from = null;
    },
  },
};
