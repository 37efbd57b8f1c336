"""A processor as PAI EAS runs it, unchanged: allspark:examples.allspark_processor:Line."""

import allspark


class Line(allspark.BaseProcessor):
    """Says whether a point "x y" lies on or above the line y = 2x + 1."""

    def initialize(self):
        self.slope, self.offset = 2, 1

    def pre_process(self, data):
        x, y = data.split(b" ")
        return int(x), int(y)

    def process(self, data):
        try:
            x, y = self.pre_process(data)
        except ValueError:
            return self.post_process("expected two numbers"), 400
        return self.post_process(str(y >= self.slope * x + self.offset)), 200

    def post_process(self, data):
        return bytes(data, encoding="utf8")


if __name__ == "__main__":
    runner = Line(worker_threads=4, worker_processes=1, endpoint="0.0.0.0:8079")
    runner.run()
